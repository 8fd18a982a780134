"""The control socket between the worker and the egress process: JSON messages that may carry descriptors."""

import array
import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.json import Decoder, Encoder

from cloister.egress.watch import Watched, running_watch, watch

LARGEST_MESSAGE_BYTES = 1024 * 1024
_ANCILLARY_BYTES = socket.CMSG_SPACE(64 * array.array("i").itemsize)
"""For the descriptors of one message."""
_MOST_AT_ONCE = 64
"""Messages in one datagram."""
_SO_SNDBUFFORCE = 32  # asm-generic/socket.h; Python does not name it
_ENCODER = Encoder()


def control_pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new control socket. SOCK_SEQPACKET: a message arrives whole, with its descriptors."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


Received = TypeVar("Received")


class ControlChannel(Generic[Received]):
    """One end of a control socket, in an asyncio event loop. One reader; any number of writers.

    What one turn of the loop has to say goes in one datagram, a list: each wakes the other process.
    """

    def __init__(self, end: socket.socket, decoder: Decoder[list[Received]]) -> None:
        """`decoder` is of what the other end says."""
        end.setblocking(False)
        _enlarge_buffer(end)
        self._socket = end
        self._decoder = decoder
        self._buffer = bytearray(LARGEST_MESSAGE_BYTES)
        self._received: deque[Received] = deque()
        self._said: list[Struct] = []
        self._is_due = False
        """Whether what was said goes in this turn."""
        self._unsent: deque[_Datagram] = deque()

    @cached_property
    def _watched(self) -> Watched:
        return watch(self._socket)

    async def send(self, message: Struct, descriptors: Sequence[int] = ()) -> None:
        """Hand the message to the kernel behind all that was said, waiting while the other end is slow.

        OSError when the other end is gone, or the message is too long.
        """
        self._send_said()
        sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        datagram = _Datagram(_ENCODER.encode([message]), descriptors, sent)
        self._queue(datagram)
        try:
            await sent
        except asyncio.CancelledError:
            with suppress(ValueError):  # it was sent all the same
                self._unsent.remove(datagram)
            raise

    async def say(self, message: Struct) -> None:
        """Do as `say_soon`, but wait while the other end is slow."""
        if self._unsent:
            await self.send(message)
        else:
            self.say_soon(message)

    def say_soon(self, message: Struct) -> None:
        """Send it before the event loop waits for anything; that the other end is gone is for its reader to see."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send_said)
        self._add(message)

    def say_later(self, message: Struct) -> None:
        """Send it together with what is said next, or within a moment."""
        if not self._is_due and not self._said:
            running_watch().alarms.after(0, self._send_said)
        self._add(message)

    def _add(self, message: Struct) -> None:
        self._said.append(message)
        if len(self._said) == _MOST_AT_ONCE:
            self._send_said()

    def _send_said(self) -> None:
        self._is_due = False
        if self._said:
            datagram = _Datagram(_ENCODER.encode(self._said))
            self._said = []
            self._queue(datagram)

    def _queue(self, datagram: "_Datagram") -> None:
        self._unsent.append(datagram)
        if len(self._unsent) == 1:
            self._send_unsent()

    def _send_unsent(self) -> None:
        """Send as much as the kernel takes, and go on when it takes more."""
        while self._unsent:
            try:
                self._unsent[0].send(self._socket)
            except BlockingIOError:
                self._watched.write_with(self._send_unsent)
                return
            except OSError as error:
                self._unsent.popleft().settle(error)
            else:
                self._unsent.popleft().settle(None)

    async def receive(self) -> tuple[Received, list[int]] | None:
        """Return the next message and its descriptors, which are the caller's to close; None at the end.

        ValueError when it is none that the other end may send, or was cut. OSError when the socket is broken.
        """
        descriptors: list[int] = []
        while not self._received:
            try:
                count, ancillary, flags, _ = self._socket.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
            except BlockingIOError:
                await self._watched.readable()
                continue
            if not count:
                return None
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("a control message was cut")
            self._received.extend(self._decoder.decode(memoryview(self._buffer)[:count]))
            descriptors += _descriptors(ancillary)
        return self._received.popleft(), descriptors

    def close(self) -> None:
        """Close this end. Who waits at it gets OSError."""
        self._watched.close()
        self._socket.close()
        self._send_unsent()


@dataclass(slots=True, eq=False)
class _Datagram:
    data: bytes
    descriptors: Sequence[int] = ()
    sent: "asyncio.Future[None] | None" = None
    """None when nobody waits for that."""

    def send(self, end: socket.socket) -> None:
        if self.descriptors:
            socket.send_fds(end, [self.data], self.descriptors)
        else:
            end.send(self.data)

    def settle(self, error: OSError | None) -> None:
        if self.sent is not None and not self.sent.done():
            if error is None:
                self.sent.set_result(None)
            else:
                self.sent.set_exception(error)


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
