"""A TCP connection as a stream of bytes that is either ended in order or reset."""

import asyncio
import contextlib
import errno
import os
import socket
import struct

from cloister.egress.watch import Watched, watch

_CHUNK_BYTES = 64 * 1024
_BUFFER = memoryview(bytearray(_CHUNK_BYTES))
"""One for all: what is read into it is copied at once, and hardly ever fills it."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_NORMAL_CLOSE = struct.pack("ii", 0, 0)
FAREWELL_SECONDS = 2.0
"""For a peer to take our last words, and to say its own."""
_MOST_IN_A_ROW = 8
"""Chunks of one stream before the others have their turn."""


class Stream:
    """One connection, read and written by at most one task each. Methods raise OSError when it breaks.

    Until it is closed in order it is set to reset: when we are killed, or cut it, the peer must not take
    what it has for the whole (a body that ends with the connection looks complete otherwise).
    """

    def __init__(self, connection: socket.socket) -> None:
        # Not left to what it has of its listener: it may have come in before anybody could set something there.
        if connection.gettimeout() != 0:
            connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._watched: Watched | None = None
        self._unread = b""
        self._in_a_row = 0
        self._has_finished = False
        self.ended = False
        """Whether the peer's end was seen, by whoever read the socket."""

    async def connect(self, address: str, port: int, *, seconds: float) -> None:
        """Connect a fresh socket. TimeoutError, OSError."""
        error = self._socket.connect_ex((address, port))
        if error == errno.EINPROGRESS:
            await self.watched.writable(seconds=seconds)
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))

    async def receive(self) -> bytes:
        """Return some bytes; none at the end."""
        if self._in_a_row == _MOST_IN_A_ROW:  # whoever sends faster than we read would keep the loop for itself
            self._in_a_row = 0
            await asyncio.sleep(0)
        while (data := self.receive_now()) is None:
            self._in_a_row = 0
            await self.watched.readable()
        self._in_a_row += 1
        return data

    @property
    def watched(self) -> Watched:
        """The socket's readiness."""
        if self._watched is None:
            self._watched = watch(self._socket)
        return self._watched

    @property
    def plain_socket(self) -> socket.socket:
        """The socket, where its bytes are the stream's own; what was put back comes before them."""
        return self._socket

    def take_unread(self) -> bytes:
        """Return what was put back, or read too far, without waiting."""
        data, self._unread = self._unread, b""
        return data

    def receive_now(self) -> bytes | None:
        """Return what waits to be received, none at the end; None when nothing waits. OSError."""
        if self._unread:
            return self.take_unread()
        try:
            return bytes(_BUFFER[: self._socket.recv_into(_BUFFER)])
        except BlockingIOError:
            return None

    def is_silent(self) -> bool:
        """Whether nothing waits to be received, and the end has not come either."""
        try:
            data = self.receive_now()
        except OSError:
            return False
        if data:
            self.unread(data)
        return data is None

    def unread(self, data: bytes) -> None:
        """Put bytes back, to be received again."""
        self._unread = data + self._unread

    def take_until(self, mark: bytes, *, limit: int) -> bytes | None:
        """Return what has come, up to and with `mark`. None when that has not come yet: nothing is taken. OSError."""
        data = self.receive_now() or b""
        end = data.find(mark) + len(mark)
        is_there = len(mark) <= end <= limit
        self.unread(data[end:] if is_there else data)
        return data[:end] if is_there else None

    async def receive_until(self, mark: bytes, *, limit: int) -> bytes | None:
        """Return the bytes up to and with `mark`; None when the stream ended before the first byte.

        EOFError when it ended later, ValueError when they are more than `limit`.
        """
        data = bytearray()
        end = -1
        while end < 0 and len(data) <= limit:
            more = await self.receive()
            if not more and not data:
                return None
            if not more:
                raise EOFError
            searched = max(len(data) - len(mark) + 1, 0)
            data += more
            end = data.find(mark, searched)
        end += len(mark)
        if end < len(mark) or end > limit:
            raise ValueError(f"no {mark!r} in {limit} bytes")
        self.unread(bytes(data[end:]))
        return bytes(data[:end])

    async def send(self, data: bytes) -> None:
        """Return when the kernel has taken all of it."""
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await self.watched.writable()

    def finish_sending(self) -> None:
        """Tell the peer that no more comes; it may go on sending. Harmless twice."""
        if self._has_finished:
            return
        self._has_finished = True
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it may have gone meanwhile, which the next read tells

    async def close_in_order(self) -> None:
        """End the connection such that the peer gets all that was sent to it. Harmless twice, and after `close`."""
        if not self.ended and self._socket.fileno() != -1:
            await self._hear_out()
        if self._socket.fileno() != -1:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NORMAL_CLOSE)
            self.close()

    async def _hear_out(self) -> None:
        """Take what the peer still says: closing with unread bytes would be a reset, which can overtake the answer."""
        self.finish_sending()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                while await self.receive():
                    pass

    def close(self) -> None:
        """Close at once; unless it was ended in order, the peer sees a reset. Harmless twice."""
        if self._socket.fileno() == -1:
            return
        if self._watched is not None:
            self._watched.close(is_shared=False)
            self._watched = None
        self._socket.close()
