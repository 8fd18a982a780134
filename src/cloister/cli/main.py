"""The command `cloister`."""

import atexit
import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from cloister.cli.commands import AllCommands
from cloister.cli.session import GlobalOptions

_MANY_OBJECTS = 20_000
"""Before the collector looks for garbage: what is loaded at the start is none, and looking took a sixth of it."""


class Program(typer.Typer):
    """The program. How it is called by a shell, and by nothing else, is here."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Carry out what the command line says."""
        gc.set_threshold(_MANY_OBJECTS)
        atexit.register(gc.freeze)  # or the interpreter would look at all that ends with it anyway, as long again
        return super().__call__(*arguments, **named)


app = Program(
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
