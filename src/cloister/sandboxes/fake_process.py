"""What is seen and sent while a scripted program goes on."""

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import anyio.lowlevel

from cloister.model.sandbox import Chunk, Exit
from cloister.sandboxes.fake_program import Run


class FakeProcess:
    """A scripted process; made by `FakeSandbox`."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
        """See `protocols.Process`."""
        ends = [0, *(chunk.end for chunk in self._run.chunks())]
        assert offset in ends, f"offset {offset} is no chunk's end; they are {ends}"
        while True:
            ended = self._run.ended
            printed = () if self._run.command.terminal else self._run.chunks()
            for chunk in [chunk for chunk in printed if chunk.end > offset]:
                offset = chunk.end
                yield chunk
            if ended is not None:
                self._run.known_to_be_over = True
                return
            if self._run.ended is None:
                await self._run.moved()

    async def wait(self) -> Exit:
        """See `protocols.Process`."""
        while (ended := self._run.ended) is None:
            await self._run.moved()
        self._run.known_to_be_over = True
        return ended

    async def lay(self, name: str, data: bytes) -> None:
        """See `protocols.Process`. Nobody reads it."""
        assert "/" not in name, f"{name!r} is no name of a file"

    @contextmanager
    def awake(self) -> Iterator[None]:
        """See `protocols.Process`. It is never stuck."""
        yield

    async def stop(self, grace_seconds: float = 0.0) -> None:
        """See `protocols.Process`."""
        assert grace_seconds >= 0, "a grace of less than nothing"
        self._run.stop()
        self._run.known_to_be_over = True


class FakeTerminal:
    """The terminal of a scripted program; made by `FakeBackend`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._read = 0
        self._closed = False

    async def read(self) -> bytes:
        """See `protocols.Terminal`."""
        while True:
            ended = self._run.ended
            for chunk in self._run.chunks():
                if chunk.end > self._read:
                    self._read = chunk.end
                    return chunk.data
            if ended is not None:
                return b""
            await self._run.moved()

    async def write(self, data: bytes) -> None:
        """See `protocols.Terminal`."""
        await anyio.lowlevel.checkpoint()
        assert not self._closed, "write to a terminal that was closed"
        self._run.typed += data

    def resize(self, columns: int, rows: int) -> None:
        """See `protocols.Terminal`."""
        assert not self._closed, "resize of a terminal that was closed"
        self._run.size = (columns, rows)

    def close(self) -> None:
        """See `protocols.Terminal`."""
        self._closed = True
        self._run.hang_up()


class FakeEnteredShell:
    """A person's shell; made by `FakeBackend`."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.status: int | None = None
        self._echo, self._typed = anyio.create_memory_object_stream[bytes](math.inf)
        self._line = b""

    async def read(self) -> bytes:
        """See `protocols.Terminal`."""
        try:
            return await self._typed.receive()
        except anyio.EndOfStream:
            return b""

    async def write(self, data: bytes) -> None:
        """See `protocols.Terminal`."""
        await self._echo.send(data)
        self._line += data.replace(b"\r", b"\n")
        done, end, rest = self._line.rpartition(b"\n")
        self._line = rest
        if end and b"exit" in done.split(b"\n"):
            self.status = 0
            self._echo.close()

    def resize(self, columns: int, rows: int) -> None:
        """Nothing asks for it."""

    def close(self) -> None:
        """See `protocols.Terminal`."""
        self._echo.close()
        self._typed.close()
