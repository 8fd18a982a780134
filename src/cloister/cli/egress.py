"""`cloister egress`: what tasks asked of the network."""

from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import TaskArgument
from cloister.cli.session import ask
from cloister.cli.terminal import output_console, print_table

if TYPE_CHECKING:
    from cloister.client import Client
    from cloister.egress_log import EgressEntry
    from cloister.model.event import RecordedEvent
    from cloister.model.task import TaskStatus

app = typer.Typer(
    no_args_is_help=True, help="What tasks asked of the network.\n\nExample:  cloister egress log 0g2x --refused"
)

_HEADINGS = ("phase", "verdict", "request", "rule", "asked by", "sent", "received", "seconds")


@app.command()
def log(
    context: typer.Context,
    task: TaskArgument,
    attempt: Annotated[int | None, typer.Option(metavar="N", help="Only this attempt's.")] = None,
    turn: Annotated[int | None, typer.Option(metavar="N", help="Only this turn's.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="Only what was refused.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object per line.")] = False,
) -> None:
    """List every request of a task, whether it was let out, by which rule, and what it carried.

    Example:  cloister egress log 0g2x --refused
    """
    from cloister.egress_log import egress_entries, entry_to_line
    from cloister.model.choice import attempt_of, turn_of

    status, events = ask(context, lambda client: _read(client, task))
    if attempt is not None or turn is not None:
        meant = turn_of(status, turn).attempts if attempt is None else [attempt_of(status, attempt, turn)]
        own = {each.attempt for each in meant}
        events = [recorded for recorded in events if recorded.attempt in own]
    entries = [entry for entry in egress_entries(events) if not (refused and entry.allowed)]
    if as_json:
        for entry in entries:
            typer.echo(entry_to_line(entry))
        return
    print_table(output_console(), _HEADINGS, [_row(entry) for entry in entries])


@app.command()
def propose(context: typer.Context, task: TaskArgument) -> None:
    """Print the least `[network]` table that would have let a task's refused requests pass.

    It goes into the environment file as it is. Comments say who asked, and what no setting lets pass.

    Example:  cloister egress propose 0g2x
    """
    from cloister.allowlist import builtin_presets
    from cloister.model.event import EgressRefused
    from cloister.proposal import proposal_to_toml, propose

    status, events = ask(context, lambda client: _read(client, task))
    refusals = [(recorded.phase, recorded.event) for recorded in events if isinstance(recorded.event, EgressRefused)]
    before = status.task.environment.network
    typer.echo(proposal_to_toml(before, propose(before, refusals), builtin_presets()), nl=False)


async def _read(client: "Client", task: str) -> "tuple[TaskStatus, list[RecordedEvent]]":
    status = await client.task(task)
    events = client.events(status.task.id, output=False)
    return status, [recorded async for recorded in events if recorded.event.wire_name.startswith("egress_")]


def _row(entry: "EgressEntry") -> tuple[str, ...]:
    return (
        str(entry.phase or ""),
        "allowed" if entry.allowed else "refused",
        f"{entry.method} {entry.host}:{entry.port}{entry.path}",
        entry.rule,
        entry.command or "",
        *("" if value is None else str(value) for value in (entry.sent_bytes, entry.received_bytes, entry.seconds)),
    )
