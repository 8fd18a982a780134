"""The command `cloister`."""

from pathlib import Path
from typing import Annotated

import typer

from cloister.cli.commands import AllCommands
from cloister.cli.session import GlobalOptions

app = typer.Typer(
    name="cloister",
    cls=AllCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"cloister {version('cloister')}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Settings file, in place of /etc/cloister and ~/.config/cloister."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Server to talk to, with the token in CLOISTER_TOKEN; else CLOISTER_SERVER."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version.")
    ] = False,
) -> None:
    """Run coding-agent tasks in sandboxes of their own, on your own machines.

    Example:  cloister run --command "make fix" "fix the failing test"
    """
    context.obj = GlobalOptions(config=config, server=server)
