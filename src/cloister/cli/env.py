"""`cloister env`: how a repository is made ready."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cloister.cli import env_store
from cloister.cli.env_check import check_environment
from cloister.cli.env_shell import check_terminal, run_shell, terminal_kind
from cloister.cli.env_store import show_stored
from cloister.cli.environment_argument import EnvironmentArgument, read_choice
from cloister.cli.options import JsonOption, RefOption, RepoOption
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_line, print_lines, print_table
from cloister.cli.work_tree import repository_address
from cloister.errors import UsageError
from cloister.model.phase import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloister.model.request import EnvironmentChoice
    from cloister.preview import CacheAnswer, Preview

app = typer.Typer(no_args_is_help=True, help="How a repository is made ready.\n\nExample:  cloister env show --repo .")
app.command()(env_store.create)
app.command("list")(env_store.list_environments)
app.command()(env_store.edit)
app.command()(env_store.history)
app.command()(env_store.delete)


_DIGITS = 12


@app.command()
def show(
    context: typer.Context,
    environment: EnvironmentArgument = None,
    repo: RepoOption = None,
    ref: RefOption = None,
    script: Annotated[
        bool, typer.Option("--script", help="Print only the script that setup runs, to edit and keep.")
    ] = False,
    version: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of a stored environment; by default the newest.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print only the stored text.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a stored environment; or, with a repository, a ref or a file, what setup would install, and why.

    Nothing is run.

    Example:  cloister env show --repo . --script >setup.sh
    """
    from cloister.model.request import EnvironmentName

    choice = _choose(environment, version)
    if isinstance(choice, EnvironmentName) and repo is None and ref is None and not script:
        show_stored(context, choice, text_only=text, as_json=as_json)
        return
    if text:
        raise UsageError("--text is for a stored environment alone, without --repo, --ref and --script")
    preview = ask(context, lambda client: client.preview(repository_address(repo), ref, choice))
    if as_json:
        from cloister.cli.json_lines import preview_to_json, to_json

        typer.echo(to_json(preview_to_json(preview)))
    elif script:
        setup = preview.needs.scripts.setup or "# nothing is installed"
        typer.echo(setup, nl=not setup.endswith("\n"))
    else:
        print_lines(output_console(), [Text(neutralize(line)) for line in _lines(preview)])


@app.command()
def check(
    context: typer.Context,
    environment: EnvironmentArgument = None,
    repo: RepoOption = None,
    ref: RefOption = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Start from the bare image.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one event per line.")] = False,
) -> None:
    """Make a repository ready as a task does, without an agent, and show how, and what is there then.

    Example:  cloister env check --repo .
    """
    check_environment(
        context,
        repository_address(repo),
        ref=ref,
        environment=read_choice(environment),
        use_cache=not no_cache,
        as_json=as_json,
    )


@app.command()
def shell(
    context: typer.Context,
    environment: EnvironmentArgument = None,
    repo: RepoOption = None,
    ref: RefOption = None,
    phase: Annotated[
        Phase, typer.Option(metavar="setup|agent", help="Where its script, or its agent, would start.")
    ] = Phase.AGENT,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Start from the bare image.")] = False,
) -> None:
    """Open a shell where an agent would start, or a script of setup: its files, network, variables and secrets.

    Nothing of what is done in it is kept.

    Example:  cloister env shell --repo . --phase setup
    """
    from cloister.model.request import Request
    from cloister.model.task import Shell

    check_terminal()
    shell = Shell(phase=phase, terminal=terminal_kind())
    run_shell(
        context,
        Request(
            repository=repository_address(repo),
            prompt=f"a shell in {phase}",
            ref=ref,
            environment=read_choice(environment),
            use_cache=not no_cache,
            shell=shell,
        ),
    )


@app.command()
def why(
    context: typer.Context,
    environment: EnvironmentArgument = None,
    repo: RepoOption = None,
    ref: RefOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether the next task finds a kept disk, part by part, and why the last one did not.

    A ref that declares other dependencies than the default branch has a disk of its own above that.

    Example:  cloister env why --repo .
    """
    answer = ask(context, lambda client: client.why(repository_address(repo), ref, read_choice(environment)))
    if as_json:
        from cloister.cli.json_lines import cache_answer_to_json, to_json

        typer.echo(to_json(cache_answer_to_json(answer)))
        return
    console = output_console()
    found = "hit" if answer.fit.reason is None else f"none fits ({answer.fit.reason})"
    print_line(console, f"snapshot {answer.recipe.key[:_DIGITS]}: {found}")
    print_table(console, ("part", "now", _nearest(answer)), list(_parts(answer)))
    if (own := answer.own) is not None:
        print_line(console, f"snapshot {own.key[:_DIGITS]} of {own.ref} alone: {own.reason or 'hit'}")
    if answer.last_miss is not None:
        missed = answer.last_miss
        print_line(console, f"last miss: {missed.at.astimezone():%Y-%m-%d %H:%M}, task {missed.task}: {missed.reason}")


def _choose(environment: str | None, version: int | None) -> "EnvironmentChoice | None":
    from cloister.model.request import EnvironmentName

    choice = read_choice(environment)
    if version is None:
        return choice
    if not isinstance(choice, EnvironmentName):
        raise UsageError("--version is for a stored environment; give its name")
    return replace(choice, version=version)


def _nearest(answer: "CacheAnswer") -> str:
    near = answer.fit.nearest
    return f"kept {near.created_at.astimezone():%Y-%m-%d %H:%M} ({near.key[:_DIGITS]})" if near else "nothing is kept"


def _parts(answer: "CacheAnswer") -> "Iterator[tuple[str, str, str]]":
    for name, digest in answer.recipe.parts.items():
        kept = answer.fit.nearest.parts.get(name, "-") if answer.fit.nearest else "-"
        yield name, digest[:_DIGITS], "same" if kept == digest else kept[:_DIGITS]


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
    from cloister.model.environment_source import source_to_text
    from cloister.model.setup_plan import step_to_text

    environment, scripts, toolchains = preview.environment, preview.needs.scripts, preview.needs.toolchains
    source = source_to_text(preview.source)
    where = f", {source}" if source else ""
    yield f"environment {environment.name}{where}, image {environment.image}, at {preview.revision.ref}"
    if environment.setup.script is not None:
        yield "setup: the environment's own script"
    elif not environment.setup.automatic:
        yield "nothing is installed: there is no [setup] script, and setup.automatic is false"
    elif not scripts.plan.steps and not scripts.plan.notes:
        yield "nothing is installed: there is no [setup] script, and no package manager is detected"
    yield from (f"version {choice}" for choice in toolchains.choices)
    yield from (f"detected {step_to_text(step)}" for step in scripts.plan.steps)
    yield from (f"note: {note}" for note in (*toolchains.notes, *scripts.plan.notes))
    if scripts.differing:
        yield f"not as on the default branch, so it runs again there: {', '.join(scripts.differing)}"
