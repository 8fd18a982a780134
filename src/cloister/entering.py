"""People who come into a running sandbox: a shell beside its agent, and the recording of what that showed."""

import codecs
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from cloister.asciicast import header_line, output_line, size_line
from cloister.errors import DiskFullError, StoreError
from cloister.model.sandbox import SandboxName
from cloister.model.task import RECORDING, AttemptId, AttemptStatus, TaskStatus, shell_owner
from cloister.protocols import EnteredShell, FileStore, Redactor, SandboxBackend, Vault

_LONGEST_RECORDING = 32 * 1024 * 1024
"""Characters; what comes after them is not kept."""


class ShellRecording:
    """What a person's shell showed, masked, as an asciicast that is kept line by line, as it is shown."""

    def __init__(self, title: str, redactor: Redactor, keep: Callable[[bytes], None]) -> None:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A shell that somebody has, and what is kept of it."""

    shell: EnteredShell
    recording: ShellRecording
    title: str


async def enter(
    status: TaskStatus,
    attempt: AttemptStatus,
    *,
    terminal: str,
    backend: SandboxBackend,
    vault: Vault,
    files: FileStore,
) -> Entered:
    """Let somebody into the container of an attempt's agent. NotFoundError where none runs that lets people in."""
    secrets = await vault.open_for(status.task)
    shell = await backend.enter(SandboxName(attempt.attempt), terminal=terminal)
    title = f"shell {shell.number} in attempt {attempt.number} of task {status.task.id}"
    keep = partial(files.append, shell_owner(AttemptId(attempt.attempt), shell.number), RECORDING)
    return Entered(shell=shell, recording=ShellRecording(title, vault.redactor(secrets), keep), title=title)
