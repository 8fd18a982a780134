"""`cloister task shell`: a shell beside an agent that works, in its own container."""

import codecs
import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import typer

from cloister.asciicast import header_line, output_line, size_line
from cloister.cli.env_shell import check_terminal, terminal_kind
from cloister.cli.session import open_embedded, server_of
from cloister.cli.terminal import error_console, output_console, print_line
from cloister.errors import ConflictError, DiskFullError, StoreError, UsageError
from cloister.model.choice import attempt_of
from cloister.model.sandbox import SandboxName
from cloister.model.task import RECORDING, AttemptId, TaskState, shell_owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloister.model.task import AttemptStatus, TaskStatus
    from cloister.protocols import Redactor
    from cloister.wiring import Application

_LONGEST_RECORDING = 32 * 1024 * 1024
"""Characters; what comes after them is not kept."""


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

    secrets = await application.tools.vault.open_for(status.task)
    shell = await application.backend.enter(SandboxName(attempt.attempt), terminal=terminal_kind())
    title = f"shell {shell.number} in attempt {attempt.number} of task {status.task.id}"
    keep = partial(application.tools.files.append, shell_owner(AttemptId(attempt.attempt), shell.number), RECORDING)
    recording = ShellRecording(title, application.tools.vault.redactor(secrets), keep)
    print_line(error_console(), f"{title}, beside its agent: what you leave in the background runs on with it")
    try:
        await join_terminals(shell, recording)
    finally:
        if (error := recording.end()) is not None:
            print_line(error_console(), f"the shell's recording was not kept: {error}")
    print_line(output_console(), f"the shell ended with status {shell.status}; the agent goes on")
    return shell.status or 0


class ShellRecording:
    """What a person's shell showed, masked, as an asciicast that is kept line by line, as it is shown."""

    def __init__(self, title: str, redactor: "Redactor", keep: "Callable[[bytes], None]") -> None:
        """`keep` is given each line; what fails of it ends the recording, and not the shell."""
        self._keep = keep
        self._redactor = redactor
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._begin = time.monotonic()
        self._length = 0
        self._failure: StoreError | DiskFullError | None = None
        self._add(header_line(at=datetime.now(UTC), title=title))

    def show(self, data: bytes) -> None:
        """The terminal showed this."""
        self._show(self._decoder.decode(self._redactor.feed(data)))

    def resize(self, columns: int, rows: int) -> None:
        """The window has this size from here on."""
        self._add(size_line(self._seconds(), columns, rows))

    def end(self) -> StoreError | DiskFullError | None:
        """Keep what was held back; return why the recording is not whole, if it is not."""
        self._show(self._decoder.decode(self._redactor.flush()))
        return self._failure

    def _show(self, text: str) -> None:
        if text:
            self._add(output_line(self._seconds(), text))

    def _add(self, line: str) -> None:
        self._length += len(line)
        if self._failure is not None or self._length > _LONGEST_RECORDING:
            return
        try:
            self._keep(f"{line}\n".encode())
        except (StoreError, DiskFullError) as error:
            self._failure = error

    def _seconds(self) -> float:
        return time.monotonic() - self._begin


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
