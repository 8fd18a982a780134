"""Runs one command of a build, line by line, in namespaces that end with us."""

import os
import subprocess
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from cloister.errors import DiskFullError, SandboxError

_KEPT_LINES = 200
_SHOWN_LINES = 8
_LONGEST_LINE = 64 * 1024
_DYING = ("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork", "--kill-child")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended, and its last lines."""

    status: int
    lines: Sequence[str]

    def failure(self, what: str, *, starts: tuple[str, ...] = ()) -> SandboxError:
        """Return the error that says `what` failed: its last lines, of those that begin with `starts` where any do."""
        if any("No space left on device" in line for line in self.lines):
            return DiskFullError(f"{what} failed: no space left")
        told = [line for line in self.lines if line.startswith(starts)] or list(self.lines)
        return SandboxError(f"{what} failed:\n" + "\n".join(told[-_SHOWN_LINES:]))


async def run_command(
    command: Sequence[str],
    *,
    variables: Mapping[str, str],
    folder: Path | None = None,
    namespaces: Sequence[str] = ("--mount-proc",),
    on_line: Callable[[str], None] = lambda _: None,
) -> Ended:
    """Run the command in mount and pid `namespaces` of its own, and in others that unshare(1) is told.

    Whatever happens, all that it started and mounted is gone when this returns or raises, even after our own SIGKILL.
    """
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    async with _running([*_DYING, *namespaces, "--", *command], variables, folder) as process:
        assert process.stdout is not None
        # Names of files may hold any byte.
        async for line in _lines_of(TextReceiveStream(process.stdout, errors="replace")):
            lines.append(line)
            on_line(line)
        return Ended(status=await process.wait(), lines=tuple(lines))


def operators_variables() -> dict[str, str]:
    """Return the operator's own environment, less our settings: they may hold a password."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CLOISTER_")}


@asynccontextmanager
async def _running(command: Sequence[str], variables: Mapping[str, str], folder: Path | None) -> AsyncIterator[Process]:
    """Run the command, and leave no process of it behind."""
    process = await anyio.open_process(
        command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=variables, cwd=folder, umask=0o022
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _kill(process)


async def _kill(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
    # The others of its pid namespace die just after it. The pipe's end tells that none is left that could write.
    assert process.stdout is not None
    async for _ in process.stdout:
        pass
    await process.aclose()


async def _lines_of(stream: TextReceiveStream) -> AsyncIterator[str]:
    rest = ""
    async for text in stream:
        *complete, rest = (rest + text).split("\n")
        for line in complete:
            yield line
        rest = rest[-_LONGEST_LINE:]
    if rest:
        yield rest
