"""One direction of a tunnel between two sockets, moved by the event loop's callbacks: no task wakes for a chunk."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable

from cloister.egress.pipes import Pipe, PipePool

_BUFFER = memoryview(bytearray(64 * 1024))
"""One for all tunnels: whoever reads into it has written it out, or copied the rest, before anybody else runs."""
_TURNS = 4
"""Chunks of one direction before the others have their turn."""
_NO_SPLICE = (errno.EINVAL, errno.ENOSYS)

_pipes = PipePool()


class Carrier:
    """Carries from `source` to `sink` until the source's end, which the sink is told.

    Small amounts are copied: one read and one write cost less than two splices. Once a whole buffer was read
    the direction is busy, and the kernel moves its bytes through a pipe until there are few again. Without
    bytes to carry it holds nothing but the watch on its source.
    """

    def __init__(
        self, source: socket.socket, sink: socket.socket, count: Callable[[int], None], *, pipes: PipePool = _pipes
    ) -> None:
        """`count` is told how many bytes the sink has taken, each time."""
        self._source = source
        self._sink = sink
        self._count = count
        self._pipes = pipes
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._pipe: Pipe | None = None
        self._is_busy = False
        self._can_splice = True
        self._failure: OSError | None = None
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def carry(self) -> None:
        """Return at the source's end, when the sink has all of it. OSError when either end breaks."""
        try:
            self._loop.add_reader(self._source, self._read)
            await self._ended
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Watch nothing any more, and drop what was not delivered."""
        self._loop.remove_reader(self._source)
        self._loop.remove_writer(self._sink)
        self._give_back()
        if not self._ended.cancelled():
            self._ended.exception()  # seen, also by a task that is cancelled at the same moment

    def _read(self) -> None:
        """Move what the source has, until it has no more, the sink takes no more, or it is the others' turn."""
        if self._ended.done() or self._has_rest():
            return
        try:
            for _ in range(_TURNS):
                if not self._move():
                    return
        except BlockingIOError:
            self._give_back()
        except OSError as error:
            self._ended.set_exception(error)
        else:
            # Not left to the watch: libuv ends it at an error (POLLERR), though there may be bytes still to read.
            self._loop.call_soon(self._read)

    def _move(self) -> bool:
        """Move one chunk; False when the source need not be asked again. BlockingIOError when nothing has come."""
        if self._is_busy:
            self._pipe = self._pipe or self._pipes.take()
        moved = self._copy() if self._pipe is None else self._splice(self._pipe)
        if moved == 0:
            self._end()
            return False
        if self._has_rest():
            self._loop.remove_reader(self._source)
            self._loop.add_writer(self._sink, self._write)
            return False
        return self._is_busy or self._is_broken()

    def _is_broken(self) -> bool:
        """Whether the source has failed. To ask costs less than a read that finds nothing, but asks only once."""
        number = self._source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            self._failure = OSError(number, os.strerror(number))
        return number != 0

    def _copy(self) -> int:
        count = self._source.recv_into(_BUFFER)
        self._is_busy = self._can_splice and count == len(_BUFFER)
        sent = self._send(_BUFFER[:count])
        self._rest = bytes(_BUFFER[sent:count])
        return count

    def _splice(self, pipe: Pipe) -> int:
        try:
            count = pipe.fill(self._source.fileno())
        except OSError as error:
            if error.errno not in _NO_SPLICE:
                raise
            self._can_splice = self._is_busy = False
            self._give_back()
            return self._copy()
        self._is_busy = count >= len(_BUFFER) // 4
        self._drain(pipe)
        return count

    def _write(self) -> None:
        """Give the sink more of what it did not take at once, and read on when it has all."""
        if self._ended.done():
            return
        try:
            if self._pipe is not None:
                self._drain(self._pipe)
            self._rest = self._rest[self._send(self._rest) :]
        except OSError as error:
            self._ended.set_exception(error)
            return
        if not self._has_rest():
            self._loop.remove_writer(self._sink)
            self._loop.add_reader(self._source, self._read)
            self._read()

    def _send(self, data: memoryview | bytes) -> int:
        try:
            sent = self._sink.send(data) if data else 0
        except BlockingIOError:
            return 0
        self._count(sent)
        return sent

    def _drain(self, pipe: Pipe) -> None:
        try:
            while pipe.held_bytes:
                self._count(pipe.drain(self._sink.fileno()))
        except BlockingIOError:
            return
        if not self._is_busy:
            self._give_back()

    def _has_rest(self) -> bool:
        return bool(self._rest) or (self._pipe is not None and self._pipe.held_bytes > 0)

    def _end(self) -> None:
        if self._failure is not None:
            self._ended.set_exception(self._failure)
            return
        with contextlib.suppress(OSError):  # it may have gone meanwhile, which the other direction's next read tells
            self._sink.shutdown(socket.SHUT_WR)
        self._ended.set_result(None)

    def _give_back(self) -> None:
        if self._pipe is not None:
            self._pipes.give_back(self._pipe)
            self._pipe = None
