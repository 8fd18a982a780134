"""`cloister env`: how a repository is made ready."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cloister.cli.run import read_environment_file
from cloister.cli.session import ask
from cloister.cli.task import JsonOption
from cloister.cli.terminal import neutralize, output_console, print_line, print_lines
from cloister.cli.work_tree import repository_address
from cloister.model.setup_plan import step_to_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloister.intake import Preview

app = typer.Typer(no_args_is_help=True, help="How a repository is made ready.\n\nExample:  cloister env show --repo .")

_NOTHING = "nothing is installed: no package manager is detected, and the environment has no [setup] script"


@app.command()
def show(
    context: typer.Context,
    repo: Annotated[
        str | None, typer.Option(metavar="PATH|URL", help="Repository; by default that of the current directory.")
    ] = None,
    ref: Annotated[str | None, typer.Option(metavar="REF", help="Branch, tag or commit, as for `run`.")] = None,
    env: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Environment file; by default .cloister/environment.toml at that commit."),
    ] = None,
    script: Annotated[
        bool, typer.Option("--script", help="Print only the script that setup runs, to edit and keep.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what setup would install, and why; nothing is run.

    Example:  cloister env show --repo . --script >setup.sh
    """
    preview = ask(
        context,
        lambda client: client.preview(
            repository_address(repo), ref, read_environment_file(env) if env is not None else None
        ),
    )
    if as_json:
        from cloister.cli.json_lines import preview_to_json, to_json

        typer.echo(to_json(preview_to_json(preview)))
    elif script:
        typer.echo(preview.scripts.setup or f"# {_NOTHING}", nl=preview.scripts.setup is None)
    else:
        print_lines(output_console(), [Text(neutralize(line)) for line in _lines(preview)])


@app.command("reset-cache")
def reset_cache(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The environment's name; by default that is its repository's address.")
    ],
) -> None:
    """Forget what setup kept for an environment; its next task runs setup again.

    Example:  cloister env reset-cache web
    """
    count = ask(context, lambda client: client.reset_cache(name))
    print_line(output_console(), f"forgot {count} snapshot{'s' if count > 1 else ''} of {neutralize(name)}")


def _lines(preview: "Preview") -> "Iterator[str]":
    environment, scripts = preview.environment, preview.scripts
    yield f"environment {environment.name}, image {environment.image}, at {preview.revision.ref}"
    if environment.setup.script is not None:
        yield "setup: the environment's own script"
    elif not scripts.plan.steps:
        yield f"setup: {_NOTHING}"
    yield from (f"detected {step_to_text(step)}" for step in scripts.plan.steps)
    yield from (f"note: {note}" for note in scripts.plan.notes)
    if scripts.differing:
        yield f"not as on the default branch, so it runs again there: {', '.join(scripts.differing)}"
