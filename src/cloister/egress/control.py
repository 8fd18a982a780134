"""The control socket between the worker and the egress process: JSON messages that may carry descriptors."""

import array
import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder, Encoder

LARGEST_MESSAGE_BYTES = 1024 * 1024
_ANCILLARY_BYTES = socket.CMSG_SPACE(64 * array.array("i").itemsize)
"""For the descriptors of one message."""
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h; Python does not name it
_ENCODER = Encoder()


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new control socket. SOCK_SEQPACKET: a message arrives whole, with its descriptors."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


Received = TypeVar("Received")


class ControlChannel(Generic[Received]):
    """One end of a control socket, in an asyncio event loop. One reader; any number of writers."""

    def __init__(self, end: socket.socket, decoder: Decoder[Received]) -> None:
        """`decoder` is of what the other end says."""
        end.setblocking(False)
        _enlarge_buffer(end)
        self._socket = end
        self._decoder = decoder
        self._buffer = bytearray(LARGEST_MESSAGE_BYTES)
        self._writing = asyncio.Lock()
        self._waiting: set[asyncio.Future[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()

    async def send(self, message: Struct, descriptors: Sequence[int] = ()) -> None:
        """Hand the message to the kernel, waiting while the other end is slow.

        OSError when the other end is gone, or the message is too long.
        """
        data = _ENCODER.encode(message)
        loop = asyncio.get_running_loop()
        async with self._writing:
            while True:
                try:
                    self._send(data, descriptors)
                except BlockingIOError:
                    await self._readiness(loop.add_writer, loop.remove_writer)
                else:
                    return

    def send_soon(self, message: Struct) -> None:
        """Send behind all that waits already; that the other end is gone is for its reader to see."""
        with suppress(OSError):
            if not self._writing.locked():
                self._send(_ENCODER.encode(message))
                return
        task = asyncio.create_task(self._send_in_turn(message))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_in_turn(self, message: Struct) -> None:
        with suppress(OSError):
            await self.send(message)

    def _send(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        if descriptors:
            socket.send_fds(self._socket, [data], descriptors)
        else:
            self._socket.send(data)

    async def receive(self) -> tuple[Received, list[int]] | None:
        """Return the next message and its descriptors, which are the caller's to close; None at the end.

        ValueError when it is none that the other end may send, or was cut. OSError when the socket is broken.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                count, ancillary, flags, _ = self._socket.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
            except BlockingIOError:
                await self._readiness(loop.add_reader, loop.remove_reader)
                continue
            if not count:
                return None
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("a control message was cut")
            return self._decoder.decode(memoryview(self._buffer)[:count]), _descriptors(ancillary)

    def close(self) -> None:
        """Close this end. Who waits at it gets ConnectionAbortedError."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        self._socket.close()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionAbortedError("the control socket was closed"))

    async def _readiness(self, watch: Callable[..., object], unwatch: Callable[[socket.socket], object]) -> None:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(ready)
        watch(self._socket, _settle, ready)
        try:
            await ready
        finally:
            self._waiting.remove(ready)
            if self._socket.fileno() != -1:
                unwatch(self._socket)


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    received = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
    return received.tolist()


def _enlarge_buffer(end: socket.socket) -> None:
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * LARGEST_MESSAGE_BYTES)
    except PermissionError:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGEST_MESSAGE_BYTES)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
