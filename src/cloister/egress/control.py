"""The control socket between the worker and the egress process: JSON messages that may carry descriptors."""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

LARGEST_MESSAGE_BYTES = 1024 * 1024
_MOST_DESCRIPTORS = 64
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h; Python does not name it


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new control socket. SOCK_SEQPACKET: a message arrives whole, with its descriptors."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class ControlChannel:
    """One end of a control socket, in an asyncio event loop. One reader; any number of writers."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        _enlarge_buffer(end)
        self._socket = end
        self._writing = asyncio.Lock()
        self._waiting: set[asyncio.Future[None]] = set()

    async def send(self, message: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        """Hand the message to the kernel, waiting while the other end is slow.

        OSError when the other end is gone, or the message is too long.
        """
        data = json.dumps(message).encode()
        loop = asyncio.get_running_loop()
        async with self._writing:
            while True:
                try:
                    socket.send_fds(self._socket, [data], descriptors)
                except BlockingIOError:
                    await self._readiness(loop.add_writer, loop.remove_writer)
                else:
                    return

    async def receive(self) -> tuple[dict[str, Any], list[int]] | None:
        """Return the next message and its descriptors, which are the caller's to close; None at the end.

        ValueError when it is not a JSON object, or was cut. OSError when the socket is broken.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, descriptors, flags, _ = socket.recv_fds(self._socket, LARGEST_MESSAGE_BYTES, _MOST_DESCRIPTORS)
            except BlockingIOError:
                await self._readiness(loop.add_reader, loop.remove_reader)
                continue
            if not data:
                return None
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("a control message was cut")
            return _parse(data), descriptors

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


def _parse(data: bytes) -> dict[str, Any]:
    message = json.loads(data)
    if not isinstance(message, dict):
        raise ValueError("a control message is not an object")  # noqa: TRY004 - one error for the caller
    return message


def _enlarge_buffer(end: socket.socket) -> None:
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * LARGEST_MESSAGE_BYTES)
    except PermissionError:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGEST_MESSAGE_BYTES)


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
