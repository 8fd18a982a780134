"""`cloister task`: what became of tasks."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.exit import CANCELLED, code_of_verdict
from cloister.cli.options import AttemptOption, JsonOption, TaskArgument, TurnOption
from cloister.cli.run import new_view
from cloister.cli.session import ask, open_client, start_background_worker
from cloister.cli.terminal import neutralize, output_console, print_line, print_lines, print_table
from cloister.errors import UsageError
from cloister.model.phase import Phase
from cloister.model.quantity import parse_duration
from cloister.model.task import TaskState, Verdict

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from cloister.client import Client
    from cloister.model.event import RecordedEvent
    from cloister.model.task import AttemptStatus, TaskStatus

app = typer.Typer(no_args_is_help=True, help="What became of tasks.\n\nExample:  cloister task list")

TasksArgument = Annotated[list[str], typer.Argument(metavar="T...", help="Ids, or unique beginnings of them.")]

_PROMPT_SHOWN = 60
_GRACE_SECONDS = 10.0
"""Of an agent whose change is wanted."""


class _Sought(StrEnum):
    """Where a task is, or how it ended."""

    QUEUED = TaskState.QUEUED
    RUNNING = TaskState.RUNNING
    FINISHED = TaskState.FINISHED
    SUCCEEDED = Verdict.SUCCEEDED
    FAILED = Verdict.FAILED
    ERRORED = Verdict.ERRORED
    CANCELLED = Verdict.CANCELLED


@app.command("list")
def list_tasks(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    environment: Annotated[str | None, typer.Option("--env", metavar="NAME", help="Only those of it.")] = None,
    state: Annotated[_Sought | None, typer.Option(help="Only those that are, or ended, so.")] = None,
    text: Annotated[str, typer.Option(metavar="TEXT", help="Only those with it in prompt or repository.")] = "",
    archived: Annotated[
        bool, typer.Option("--archived", help="Those that were archived, in place of the others.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the newest tasks.

    Example:  cloister task list --limit 5
    Example:  cloister task list --state failed --text login
    """
    wanted = None if state is None else _as_told(state)
    statuses = ask(
        context,
        lambda client: client.tasks(limit=limit, environment=environment, state=wanted, text=text, archived=archived),
    )
    if as_json:
        from cloister.cli.json_lines import task_to_json, to_json

        typer.echo(to_json([task_to_json(status) for status in statuses]))
        return
    from cloister.cli.live import state_to_text

    rows = [
        (
            status.task.id,
            state_to_text(status),
            f"{status.task.accepted_at.astimezone():%Y-%m-%d %H:%M}",
            status.task.repository.directory,
            " ".join(status.task.prompt.split())[:_PROMPT_SHOWN],
        )
        for status in statuses
    ]
    print_table(output_console(), ("task", "state", "accepted", "repository", "prompt"), rows)


def _as_told(sought: _Sought) -> TaskState | Verdict:
    known: tuple[TaskState | Verdict, ...] = (*TaskState, *Verdict)
    return next(one for one in known if one.value == sought.value)


@app.command()
def show(
    context: typer.Context,
    task: TaskArgument,
    attempt: AttemptOption = None,
    turn: TurnOption = None,
    details: Annotated[bool, typer.Option("--details", help="Everything, instead of what fits on a page.")] = False,
    prompt: Annotated[bool, typer.Option("--prompt", help="Only what the agent was given to read.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show on a page what was asked, said, changed, checked, refused, flagged and found, and what to do next.

    Example:  cloister task show 0g2x
    """
    from cloister.cli.json_lines import task_to_json, to_json
    from cloister.cli.outcome_page import Page, print_page
    from cloister.model.choice import attempt_of

    async def answer(client: "Client") -> "tuple[TaskStatus, list[RecordedEvent]]":
        status = await client.task(task, diffs=True)
        return status, [recorded async for recorded in client.events(status.task.id, output=False)]

    status, events = ask(context, answer)
    chosen = attempt_of(status, attempt, turn)
    if prompt:
        for text in _prompts_of(status, chosen, events):
            typer.echo(neutralize(text))
        return
    if as_json:
        typer.echo(to_json(task_to_json(status, diffs=True)))
        return
    told = [recorded for recorded in events if recorded.attempt == chosen.attempt]
    print_page(output_console(), Page(status=status, attempt=chosen, told=told, details=details))


def _prompts_of(status: "TaskStatus", chosen: "AttemptStatus", events: "Sequence[RecordedEvent]") -> "Sequence[str]":
    """Return what an attempt's agent was given, one text a round; before it began, and of a command, what was asked."""
    from cloister.model.event import AgentPrompted

    told = (recorded.event for recorded in events if recorded.attempt == chosen.attempt)
    given = [event.text for event in told if isinstance(event, AgentPrompted)]
    asked = (turn.prompt for turn in status.turns if chosen in turn.attempts)
    return given or [next(asked, status.task.prompt)]


@app.command()
def logs(
    context: typer.Context,
    task: TaskArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the task is over.")] = False,
    phase: Annotated[Phase | None, typer.Option(help="Only what happened in this phase.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="What the agent printed, as it is, in place of what it says.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what happened in a task.

    Example:  cloister task logs 0g2x --phase setup
    """

    async def print_events(client: "Client") -> None:
        status = await client.task(task)
        with new_view(status, as_json=as_json, raw=raw) as view:
            async for recorded in client.events(status.task.id, follow=follow):
                if phase is None or recorded.phase is phase:
                    view.show(recorded)
        if as_json and phase is None:
            view.finish(await client.task(task, diffs=True))

    ask(context, print_events)


@app.command()
def wait(context: typer.Context, task: TaskArgument, as_json: JsonOption = False) -> None:
    """Wait until a task is over, and end as `cloister run` would.

    Example:  cloister task wait 0g2x && cloister apply 0g2x
    """
    from cloister.cli.json_lines import task_to_json, to_json
    from cloister.cli.live import summary

    async def answer(client: "Client") -> "TaskStatus":
        status = await client.task(task)
        if status.verdict is None:
            start_background_worker(context, status.task.id)  # it may be that the one before it died
        return await client.wait(status.task.id, diffs=True)

    status = ask(context, answer)
    if as_json:
        typer.echo(to_json(task_to_json(status, diffs=True)))
    else:
        print_lines(output_console(), summary(status))
    raise typer.Exit(code_of_verdict(status.verdict) if status.verdict else CANCELLED)


@app.command()
def cancel(
    context: typer.Context,
    task: TaskArgument,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", help="Number of one attempt of the last turn: the others go on.")
    ] = None,
    grace: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="From SIGTERM to the kill of a running agent; none, or 10s with --collect."
        ),
    ] = None,
    collect: Annotated[
        bool, typer.Option("--collect", help="Take out what a running agent has changed, all the same.")
    ] = False,
) -> None:
    """Cancel a task, or one attempt of it, and wait until it is cleaned up.

    Example:  cloister task cancel 0g2x
    Example:  cloister task cancel 0g2x --attempt 2
    Example:  cloister task cancel 0g2x --collect
    """
    import anyio

    from cloister.cli.live import summary
    from cloister.model.cancellation import Cancellation
    from cloister.model.choice import attempt_of

    asked = Cancellation(grace_seconds=_grace(grace, collect=collect), collect=collect)

    async def work() -> "TaskStatus":
        async with open_client(context) as client:
            full = await client.cancel(task, attempt=attempt, cancellation=asked)
            start_background_worker(context, full)  # so that the sandbox goes too when its worker is dead
            if attempt is None:
                return await client.wait(full)
            meant = attempt_of(await client.task(full), attempt)
            return await client.wait_for_attempt(full, meant.attempt)

    status = anyio.run(work)
    if collect:
        print_lines(output_console(), summary(status))
        return
    if attempt is not None:
        left = attempt_of(status, attempt)
        ended = left.outcome.verdict if left.outcome else left.state
        print_line(output_console(), f"attempt {attempt} of task {status.task.id} {ended}")
    print_line(output_console(), f"task {status.task.id} {status.verdict or status.state}")


def _grace(text: str | None, *, collect: bool) -> float:
    if text is None:
        return _GRACE_SECONDS if collect else 0.0
    if text in ("0", "0s"):
        return 0.0
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--grace {text}: {error}") from error


@app.command()
def archive(context: typer.Context, tasks: TasksArgument) -> None:
    """Leave tasks that are over out of lists. Nothing of them is removed.

    Example:  cloister task archive 0g2x 0g31
    """
    _put_each(context, tasks, lambda client, task: client.archive(task), "archived")


@app.command()
def restore(context: typer.Context, tasks: TasksArgument) -> None:
    """Show archived tasks in lists again.

    Example:  cloister task restore 0g2x
    """
    _put_each(context, tasks, lambda client, task: client.restore(task), "restored")


def _put_each(
    context: typer.Context,
    tasks: list[str],
    put: "Callable[[Client, str], Awaitable[TaskStatus]]",
    done: str,
) -> None:
    async def work(client: "Client") -> None:
        for task in tasks:
            status = await put(client, task)
            print_line(output_console(), f"task {status.task.id} {done}")

    ask(context, work)


@app.command("shell")
def open_shell(
    context: typer.Context,
    task: TaskArgument,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", help="Number of the attempt; by default the one that runs.")
    ] = None,
) -> None:
    """Open a shell in the container in which an agent works, beside it, and end as the shell ends.

    Example:  cloister task shell 0g2x
    """
    from cloister.cli.task_shell import run_task_shell

    raise typer.Exit(run_task_shell(context, task, attempt))
