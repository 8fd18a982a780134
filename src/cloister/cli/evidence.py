"""`cloister task recording`, `command` and `artifacts`: what an answer can be checked by."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from cloister.asciicast import recording_lines
from cloister.cli.options import AttemptOption, TaskArgument, TurnOption
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_lines, print_table
from cloister.errors import NotFoundError, UsageError
from cloister.model.quantity import size_to_text

if TYPE_CHECKING:
    from cloister.client import Client
    from cloister.model.artifact import Artifact
    from cloister.model.event import AgentEvent, RecordedEvent
    from cloister.model.task import AttemptStatus, TaskStatus

app = typer.Typer()


@app.command()
def recording(
    context: typer.Context,
    task: TaskArgument,
    attempt: AttemptOption = None,
    turn: TurnOption = None,
    shell: Annotated[
        int | None, typer.Option(metavar="N", help="Of a person's shell in that attempt, in place of its agent.")
    ] = None,
) -> None:
    """Print the terminal of an attempt's agent, or of a person's shell beside it, as an asciicast (version 2).

    Example:  cloister task recording 0g2x > fix.cast
    """
    from cloister.replay import shown

    async def answer(client: "Client") -> str:
        if shell is not None:
            return (await client.shell_recording(task, shell, attempt=attempt, turn=turn)).decode()
        status, chosen, told = await _of_attempt(client, task, attempt, turn)
        title = f"attempt {chosen.number} of task {status.task.id}"
        lines = list(recording_lines(title, shown(told)))
        if not lines:
            raise NotFoundError(f"the agent of {title} has printed nothing")
        return "\n".join(lines) + "\n"

    typer.echo(ask(context, answer), nl=False)


async def _of_attempt(
    client: "Client", task: str, attempt: int | None, turn: int | None, *, output: bool = True
) -> "tuple[TaskStatus, AttemptStatus, Sequence[RecordedEvent]]":
    status = await client.task(task)
    from cloister.model.choice import attempt_of

    chosen = attempt_of(status, attempt, turn)
    told = [
        recorded
        async for recorded in client.events(status.task.id, output=output)
        if recorded.attempt == chosen.attempt
    ]
    return status, chosen, told


_ADDRESS = re.compile(r"(?P<task>[a-z0-9]+)/(?P<attempt>[0-9]{1,2})/commands/(?P<number>[0-9]{1,6})", re.ASCII)


@app.command()
def command(
    context: typer.Context,
    address: Annotated[
        str, typer.Argument(metavar="T/ATTEMPT/commands/N", help="A task, an attempt's number, and a command's.")
    ],
    turn: TurnOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a command that an agent ran, what it printed and how it ended, as the agent tells it.

    Example:  cloister task command 0g2x/1/commands/7
    """
    from cloister.agent_lines import agent_lines
    from cloister.cli.json_lines import to_json
    from cloister.model.event import AgentEvent, AgentEventKind

    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise UsageError(f"{address!r} is no command's address", hint="such as 0g2x/1/commands/7")
    number = int(found["number"])

    async def answer(client: "Client") -> "list[AgentEvent]":
        status, chosen, told = await _of_attempt(client, found["task"], int(found["attempt"]), turn, output=False)
        commands = [it.event for it in told if isinstance(it.event, AgentEvent) and it.event.number is not None]
        ours = [event for event in commands if event.number == number]
        if not ours:
            ran = len({event.number for event in commands})
            raise NotFoundError(
                f"attempt {chosen.number} of task {status.task.id} has no command {number}: its agent told of {ran}"
            )
        return ours

    events = ask(context, answer)
    last = events[-1]
    if as_json:
        kept = ("number", "command_line", "status")
        fields = {name: getattr(last, name) for name in kept}
        typer.echo(to_json({**fields, "output": last.text, "finished": last.kind is AgentEventKind.COMMAND_FINISHED}))
        return
    print_lines(output_console(), [Text(neutralize(line)) for event in events for line, _ in agent_lines(event)])


@app.command()
def artifacts(
    context: typer.Context,
    task: TaskArgument,
    attempt: AttemptOption = None,
    turn: TurnOption = None,
    get: Annotated[str | None, typer.Option(metavar="NAME", help="Save this one.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to save it; there must be none.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the files that an attempt's agent left in /cloister/out/artifacts, or save one of them.

    Example:  cloister task artifacts 0g2x
    Example:  cloister task artifacts 0g2x --get page.png --output page.png
    """
    from cloister.cli.json_lines import to_json

    if (get is None) != (output is None):
        raise UsageError("--get NAME and --output FILE go together")
    if get is not None and output is not None:
        name = get
        _save(ask(context, lambda client: client.artifact(task, name, attempt=attempt, turn=turn)), output)
        return

    async def answer(client: "Client") -> "Sequence[Artifact]":
        from cloister.model.choice import attempt_of

        chosen = attempt_of(await client.task(task), attempt, turn)
        return chosen.outcome.artifacts if chosen.outcome else ()

    found = ask(context, answer)
    if as_json:
        typer.echo(to_json([asdict(artifact) for artifact in found]))
        return
    rows = [(artifact.name, size_to_text(artifact.size_bytes), artifact.sha256[:12]) for artifact in found]
    print_table(output_console(), ("name", "size", "sha256"), rows)


def _save(data: bytes, path: Path) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already", hint="name another file, or remove it") from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
