"""`cloister task shell`: a shell beside an agent that works, in its own container."""

from typing import TYPE_CHECKING

import typer

from cloister.cli.env_shell import check_terminal, terminal_kind
from cloister.cli.session import open_embedded, server_of
from cloister.cli.terminal import error_console, output_console, print_line
from cloister.errors import ConflictError, UsageError
from cloister.model.choice import attempt_of
from cloister.model.task import TaskState

if TYPE_CHECKING:
    from cloister.model.task import AttemptStatus, TaskStatus
    from cloister.wiring import Application


def run_task_shell(context: typer.Context, task: str, attempt: int | None) -> int:
    """Let the user into the container of an attempt's agent; return how their shell ended."""
    import anyio

    check_terminal()
    if server_of(context) is not None:
        raise UsageError("a shell is opened on the machine that runs the task", hint="leave --server out there")

    async def work() -> int:
        async with open_embedded(context) as (_, application):
            status = await application.intake.task(task)
            return await _be_inside(application, status, _running(status, attempt))

    return anyio.run(work)


async def _be_inside(application: "Application", status: "TaskStatus", attempt: "AttemptStatus") -> int:
    from cloister.cli.bridge import join_terminals
    from cloister.entering import enter

    entered = await enter(
        status,
        attempt,
        terminal=terminal_kind(),
        backend=application.backend,
        vault=application.tools.vault,
        files=application.tools.files,
    )
    shell = entered.shell
    print_line(error_console(), f"{entered.title}, beside its agent: what you leave in the background runs on with it")
    try:
        await join_terminals(shell, entered.recording)
    finally:
        if (error := entered.recording.end()) is not None:
            print_line(error_console(), f"the shell's recording was not kept: {error}")
    print_line(output_console(), f"the shell ended with status {shell.status}; the agent goes on")
    return shell.status or 0


def _running(status: "TaskStatus", number: int | None) -> "AttemptStatus":
    """Return the attempt to enter: the one of that number, or the only one that runs."""
    if number is not None:
        chosen = attempt_of(status, number)
        if chosen.state is not TaskState.RUNNING:
            raise ConflictError(f"attempt {number} of task {status.task.id} is {chosen.state}: nothing runs there")
        return chosen
    running = [attempt for attempt in status.attempts if attempt.state is TaskState.RUNNING]
    if not running:
        hint = f"its state: cloister task show {status.task.id}"
        raise ConflictError(f"task {status.task.id} is {status.state}: nothing runs there", hint=hint)
    if len(running) > 1:
        numbers = ", ".join(str(attempt.number) for attempt in running)
        raise UsageError(f"attempts {numbers} of task {status.task.id} run", hint="choose one with --attempt")
    return running[0]
