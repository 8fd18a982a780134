"""`cloister env import` and `schema`: environment files made from others, and what may stand in one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cloister.cli.options import JsonOption, RefOption, RepoOption
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_lines
from cloister.cli.work_tree import repository_address
from cloister.cli.written import write_file, write_in_folder
from cloister.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloister.importing import ImportedEnvironment

app = typer.Typer()

_STANDARD_OUTPUT = Path("-")


@app.command("import")
def import_environment(
    context: typer.Context,
    repo: RepoOption = None,
    ref: RefOption = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="PATH", help="Which of the repository's files; by default the first choice."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|-",
            help="Where to write; by default .cloister/environment.toml of the work tree; - where there is none.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an environment file of what a repository says to other services; nothing of it is run.

    Reads copilot-setup-steps.yml, .cursor/environment.json, .openhands/setup.sh or devcontainer.json.

    Example:  cloister env import --repo .
    """
    from cloister.environment_file import REPOSITORY_FILE

    address = repository_address(repo)
    root = Path(address) if (Path(address) / ".git").exists() else None
    imported = ask(context, lambda client: client.import_environment(address, ref, source))
    written = _write(imported.text, output, root, REPOSITORY_FILE, force=force)
    if as_json:
        from cloister.cli.json_lines import imported_to_json, to_json

        typer.echo(to_json(imported_to_json(imported, written=written)))
    elif written is None:
        typer.echo(neutralize(imported.text), nl=False)
    else:
        print_lines(output_console(), [Text(neutralize(line)) for line in _lines(imported, written, address)])


@app.command()
def schema() -> None:
    """Print the JSON Schema of the environment file, for editors.

    Example:  cloister env schema >environment.schema.json
    """
    from cloister.environment_json_schema import environment_json_schema

    typer.echo(environment_json_schema(), nl=False)


def _write(text: str, output: Path | None, root: Path | None, default: str, *, force: bool) -> Path | None:
    """Return where it was written; None for nowhere."""
    if output == _STANDARD_OUTPUT or (output is None and root is None):
        return None
    if output is not None:
        write_file(output, text, force=force)
        return output
    if root is None or not root.is_dir():
        raise UsageError("there is no work tree to write into", hint="name a file: --output FILE")
    folder, _, name = default.rpartition("/")
    return write_in_folder(root, folder, name, text, force=force)


def _lines(imported: "ImportedEnvironment", written: Path, address: str) -> "Iterator[str]":
    yield f"wrote {written} from {imported.source}"
    yield from (f"taken: {note.where}: {note.text}" for note in imported.taken)
    yield from (f"not taken: {note.where}: {note.text}" for note in imported.left)
    if imported.others:
        yield f"not read, since one file is: {', '.join(imported.others)}"
    for name in imported.secrets:
        yield f"give it a value: cloister secret set {address} {name}"
    yield f"try it: cloister env check {written} --repo {address}"
