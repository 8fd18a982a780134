"""What a program does in a sandbox that runs nothing: a script, and how far it is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from cloister.model.sandbox import Chunk, Command, EndCause, Exit, Stream

_KILLED = 137
_SUCCESS = Exit(status=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """A program prints."""

    data: bytes
    stream: Stream = Stream.STDOUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """A program writes to the end of a file below /cloister/out."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Hold:
    """A program waits until `FakeNode.release`, or until it is stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a command of some id does when it is started."""

    steps: Sequence[Print | Append | Hold] = ()
    ends: Exit = _SUCCESS
    leaves: Mapping[str, bytes] = field(default_factory=dict)
    """Files below /cloister/out that it has written when it ended by itself."""
    writes: Mapping[str, bytes] = field(default_factory=dict)
    """Other files, which a search for residue looks through; one that begins with NUL cannot be scrubbed."""


class Run:
    """A command that was started: it goes on whoever watches."""

    def __init__(self, command: Command, program: Program) -> None:
        self.command = command
        self._program = program
        self._released = 0
        self._stopped = False
        self._moved = anyio.Event()
        self._hung_up = False
        self.terminal_given = False
        self.entered = 0
        self.typed = b""
        self.size: tuple[int, int] | None = None
        """Columns and rows that the terminal was last given."""
        self.known_to_be_over = False
        """Somebody was told: only then may the caller rely on it."""

    @property
    def ended(self) -> Exit | None:
        """How it ended; None while it goes on."""
        if self._stopped:
            return Exit(status=_KILLED, cause=EndCause.HUNG_UP if self._hung_up else EndCause.STOPPED)
        if self._printed() > self.command.output_bytes:
            return Exit(status=_KILLED, cause=EndCause.OUTPUT_LIMIT)
        return None if self._held() else self._program.ends

    @property
    def left(self) -> Mapping[str, bytes]:
        """Files below /cloister/out, once it ended by itself."""
        return {} if self._stopped or self._held() else self._program.leaves

    @property
    def written(self) -> Mapping[str, bytes]:
        """Other files, once it ended by itself."""
        return {} if self._stopped or self._held() else self._program.writes

    def chunks(self) -> Iterator[Chunk]:
        """All that it has printed by now, cut at the limit."""
        end = 0
        for step in self._prints():
            data = step.data[: self.command.output_bytes - end]
            if data:
                end += len(data)
                yield Chunk(step.stream, data, end)

    def release(self) -> None:
        """Let it go on to its next hold, or to its end."""
        assert self._held() and not self._stopped, f"{self.command.id!r} holds nowhere"
        self._released += 1
        self._wake()

    def stop(self) -> None:
        """End it where it is."""
        if self.ended is None:
            self._stopped = True
            self._wake()

    def hang_up(self) -> None:
        """End it where it is, because its terminal was closed."""
        if self.ended is None:
            self._hung_up = True
            self.stop()

    async def moved(self) -> None:
        """Return when it has gone on since."""
        await self._moved.wait()

    def appended(self, path: str) -> bytes:
        """What it has written to that file by now."""
        return b"".join(step.data for step in self._done() if isinstance(step, Append) and step.path == path)

    def _prints(self) -> Iterator[Print]:
        return (step for step in self._done() if isinstance(step, Print))

    def _done(self) -> Iterator[Print | Append]:
        holds = 0
        for step in self._program.steps:
            match step:
                case Print() | Append():
                    yield step
                case Hold():
                    holds += 1
                    if holds > self._released:
                        return

    def _held(self) -> bool:
        return sum(isinstance(step, Hold) for step in self._program.steps) > self._released

    def _printed(self) -> int:
        return sum(len(step.data) for step in self._prints())

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
