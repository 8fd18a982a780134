"""`cloister env create`, `list`, `edit`, `history` and `delete`: environments that are stored."""

import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.text import Text

from cloister.cli.editor import edit_text, find_editor
from cloister.cli.environment_argument import read_environment_file
from cloister.cli.options import JsonOption
from cloister.cli.session import ask
from cloister.cli.terminal import error_console, neutralize, output_console, print_line, print_lines, print_table
from cloister.cli.work_tree import repository_address
from cloister.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from cloister.client import Client
    from cloister.environments import EnvironmentReport
    from cloister.model.request import EnvironmentName, EnvironmentText, RepositoryFile
    from cloister.model.stored_environment import StoredEnvironment

T = TypeVar("T")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Name of a stored environment.")]
FileOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Its text; `-` reads standard input.")]
RepoOption = Annotated[
    str | None,
    typer.Option(metavar="PATH|URL", help="Take the text from .cloister/environment.toml of this repository."),
]
RefOption = Annotated[str | None, typer.Option(metavar="REF", help="With --repo: branch, tag or commit.")]

TEMPLATE = """\
image = "base"

# [setup]
# script = "pip install --editable '.[test]'"

# [network]
# agent = "limited"
# allow = ["preset:common-dependencies"]
"""


def create(
    context: typer.Context,
    name: NameArgument,
    file: FileOption = None,
    repo: RepoOption = None,
    ref: RefOption = None,
) -> None:
    """Store an environment, from a file, from a repository's own file, or written in your editor.

    Example:  cloister env create web --file web.toml
    """
    content = _content(file, repo, ref)

    def save(content: "EnvironmentText | RepositoryFile") -> "EnvironmentReport":
        return _ask(context, lambda client: client.create_environment(name, content))

    if content is None:
        _check_free(context, name)
        report = _edited(TEMPLATE, name, save, later=f"cloister env create {name} --file")
    else:
        report = save(content)
    _tell(report)


def edit(
    context: typer.Context,
    name: NameArgument,
    file: FileOption = None,
    repo: RepoOption = None,
    ref: RefOption = None,
) -> None:
    """Store a new version, written in your editor ($VISUAL, $EDITOR), or from a file. Former versions stay.

    Example:  cloister env edit web
    """
    content = _content(file, repo, ref)
    before = _ask(context, lambda client: client.environment(name)).stored

    def save(content: "EnvironmentText | RepositoryFile") -> "EnvironmentReport":
        return _ask(context, lambda client: client.edit_environment(name, content, base=before.version))

    if content is None:
        report = _edited(before.text, name, save, later=f"cloister env edit {name} --file")
    else:
        report = save(content)
    _tell(report, before=before.version)


def list_environments(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the stored environments in their newest versions.

    Example:  cloister env list
    """
    stored = ask(context, lambda client: client.environments())
    if as_json:
        from cloister.cli.json_lines import stored_to_json, to_json

        typer.echo(to_json([stored_to_json(each) for each in stored]))
        return
    if not stored:
        begin = "cloister env create NAME --file FILE, or --repo . for the repository's own file"
        print_line(error_console(), f"no environment is stored yet; to begin: {begin}")
        return
    rows = [(each.name, str(each.version), _minute(each.created_at), each.origin) for each in stored]
    print_table(output_console(), ("environment", "version", "changed", "from"), rows)


def history(context: typer.Context, name: NameArgument, as_json: JsonOption = False) -> None:
    """List the versions of a stored environment, newest first, also when it was deleted.

    Example:  cloister env history web
    """
    versions = ask(context, lambda client: client.environment_versions(name))
    if as_json:
        from cloister.cli.json_lines import stored_to_json, to_json

        typer.echo(to_json([stored_to_json(each) for each in versions]))
        return
    rows = [(str(each.version), _minute(each.created_at), _origin_and_end(each)) for each in versions]
    print_table(output_console(), ("version", "stored", "from"), rows)


def delete(
    context: typer.Context,
    name: NameArgument,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Forget the secrets of its vault too; else it must have none.")
    ] = False,
) -> None:
    """Delete a stored environment, and what setup kept for it. Tasks keep what they ran with.

    Example:  cloister env delete web
    """
    secrets, snapshots = ask(context, lambda client: client.delete_environment(name, with_secrets=with_secrets))
    gone = [f"secret{'s' * (len(secrets) > 1)} {', '.join(secrets)}"] if secrets else []
    gone += [f"{snapshots} snapshot{'s' * (snapshots > 1)}"] if snapshots else []
    with_it = f", with {' and '.join(gone)}" if gone else ""
    print_line(output_console(), f"deleted {name}{with_it}; what it said: cloister env history {name}")


def show_stored(context: typer.Context, choice: "EnvironmentName", *, text_only: bool, as_json: bool) -> None:
    """Show what is stored."""
    report = ask(context, lambda client: client.environment(choice.name, choice.version))
    if as_json:
        from cloister.cli.json_lines import report_to_json, to_json

        typer.echo(to_json(report_to_json(report)))
    elif text_only:
        _print_text(report.stored.text)
    else:
        print_lines(output_console(), [Text(neutralize(line)) for line in _facts(report)])
        typer.echo()
        _print_text(report.stored.text)


def _content(file: Path | None, repo: str | None, ref: str | None) -> "EnvironmentText | RepositoryFile | None":
    """Return what the options name; None when they name nothing."""
    from cloister.model.request import EnvironmentText, RepositoryFile

    if file is not None and (repo is not None or ref is not None):
        raise UsageError("a text comes from --file or from --repo; leave one of them out")
    if ref is not None and repo is None:
        raise UsageError("--ref needs the repository that it is in: --repo PATH|URL")
    if repo is not None:
        return RepositoryFile(repository=repository_address(repo), ref=ref)
    if file == Path("-"):
        return EnvironmentText(source="standard input", raw=sys.stdin.buffer.read())
    return read_environment_file(file) if file is not None else None


def _check_free(context: typer.Context, name: str) -> None:
    """Raise what `create` would, before anybody writes a text for nothing."""
    from cloister.model.stored_environment import check_stored_name, conflict

    find_editor()
    try:
        check_stored_name(name)
    except ValueError as error:
        raise UsageError(f"{name!r} cannot be stored: {error}") from error
    for stored in ask(context, lambda client: client.environments()):
        if stored.name == name:
            raise conflict(name, stored, None)


def _edited(
    text: str, name: str, save: "Callable[[EnvironmentText], EnvironmentReport]", *, later: str
) -> "EnvironmentReport":
    from cloister.model.request import EnvironmentText

    report = edit_text(
        text,
        file_name=f"{name}.toml",
        save=lambda changed: save(EnvironmentText(source="edited text", raw=changed)),
        later=later,
    )
    if report is None:
        print_line(output_console(), "nothing was changed")
        raise typer.Exit
    return report


def _ask(context: typer.Context, question: "Callable[[Client], Awaitable[T]]") -> T:
    """Answer as `ask` does; a UsageError is raised as itself, in no group."""

    async def answer(client: "Client") -> T | UsageError:
        try:
            return await question(client)
        except UsageError as error:
            return error

    answered = ask(context, answer)
    if isinstance(answered, UsageError):
        raise answered
    return answered


def _tell(report: "EnvironmentReport", *, before: int | None = None) -> None:
    stored = report.stored
    console = output_console()
    if stored.version == before:
        print_line(console, f"environment {stored.name} says the same already; it stays in version {before}")
        return
    print_line(console, f"stored {stored.name}, version {stored.version}")
    for line in _secrets(report):
        print_line(console, neutralize(line))


def _facts(report: "EnvironmentReport") -> "Iterator[str]":
    stored, environment = report.stored, report.environment
    yield f"environment  {stored.name}, version {stored.version}"
    yield f"stored       {_minute(stored.created_at)}, from {_origin_and_end(stored)}"
    yield f"digest       sha256:{stored.digest}"
    if environment is None:
        yield f"problem      {report.problem}"
        return
    yield f"image        {environment.image}"
    yield f"agent        {environment.agent}"
    yield from _secrets(report)


def _origin_and_end(stored: "StoredEnvironment") -> str:
    return f"{stored.origin}; deleted {_minute(stored.deleted_at)}" if stored.deleted_at else stored.origin


def _minute(at: "datetime") -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def _secrets(report: "EnvironmentReport") -> "Iterator[str]":
    """Say which secrets tasks of this environment get: whoever wrote its text has the use of them."""
    uses = report.environment.secrets if report.environment else ()
    if uses:
        yield f"secrets      {', '.join(use.name for use in uses)}"
    for name in report.without_value:
        yield f"no value     {name}; give it one: cloister secret set {report.stored.name} {name}"


def _print_text(text: str) -> None:
    """Print it as it is, so that it can be kept in a file; on a terminal without what would harm it."""
    typer.echo(neutralize(text) if sys.stdout.isatty() else text, nl=not text.endswith("\n"))
