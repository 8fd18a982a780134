"""Which sockets are ready: each is registered with the kernel once, for as long as it is open.

The event loop's own watches (uvloop's, and asyncio's) take several system calls whenever one begins or ends, and a
tunnel would need a dozen of them.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from functools import lru_cache, partial

_ENDS = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_FOR_READERS = select.EPOLLIN | _ENDS
_FOR_WRITERS = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_MOST_AT_ONCE = 256


class Watch:
    """All that is watched in one event loop (epoll(7))."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        loop.add_reader(self._epoll.fileno(), self._tell)

    def add(self, end: socket.socket) -> "Watched":
        """Register a socket that does not block; a connecting one after it began to."""
        descriptor = end.fileno()
        self._epoll.register(descriptor, _EVENTS)
        watched = self._watched[descriptor] = Watched(self, descriptor)
        return watched

    def forget(self, descriptor: int, watched: "Watched") -> None:
        """Let go of a socket. The kernel would do that by itself, but not as long as another process has it too."""
        if self._watched.get(descriptor) is watched:  # else it is another's by now
            del self._watched[descriptor]
            self._epoll.unregister(descriptor)

    def _tell(self) -> None:
        for descriptor, events in self._epoll.poll(0, _MOST_AT_ONCE):
            try:
                if (watched := self._watched.get(descriptor)) is not None:
                    watched.tell(events)
            except Exception as error:  # a bug in one must not cost the others what they are told only once
                self.loop.call_exception_handler({"message": "a socket's reader or writer failed", "exception": error})


class Watched:
    """One socket. Of each change it is told once: so try first, and wait when that would have blocked."""

    __slots__ = ("_descriptor", "_missed", "_on_readable", "_on_writable", "_watch", "is_ending")

    def __init__(self, watch: Watch, descriptor: int) -> None:
        self._watch = watch
        self._descriptor = descriptor
        self._on_readable: Callable[[], None] | None = None
        self._on_writable: Callable[[], None] | None = None
        self._missed = False
        self.is_ending = False
        """Whether the peer's end, or an error, lies behind what can still be read."""

    def tell(self, events: int) -> None:
        """Pass a change on."""
        if events & _ENDS:
            self.is_ending = True
        if events & _FOR_READERS:
            if self._on_readable is not None:
                self._on_readable()
            else:
                self._missed = True
        if events & _FOR_WRITERS and self._on_writable is not None:
            self._on_writable()

    def read_with(self, reader: Callable[[], None] | None) -> None:
        """From now on, call this one whenever more may be read; None ends that."""
        self._on_readable = reader
        if self._missed and reader is not None:
            self._missed = False
            self._watch.loop.call_soon(reader)

    def write_with(self, writer: Callable[[], None] | None) -> None:
        """From now on, call this one whenever more may be written; None ends that."""
        self._on_writable = writer

    async def readable(self) -> None:
        """Return when more may be read."""
        ready = self._watch.loop.create_future()
        self._on_readable = reader = partial(_settle, ready)
        try:
            await ready
        finally:
            self._missed = True  # who waited may read a part, or was called away in the turn in which it was told
            if self._on_readable is reader:
                self._on_readable = None

    async def writable(self, *, until: float | None = None) -> None:
        """Return when more may be written. TimeoutError when the loop's clock comes to `until` before."""
        ready = self._watch.loop.create_future()
        self._on_writable = writer = partial(_settle, ready)
        timer = self._watch.loop.call_at(until, _give_up, ready) if until is not None else None
        try:
            await ready
        finally:
            if timer is not None:
                timer.cancel()
            if self._on_writable is writer:
                self._on_writable = None

    def close(self) -> None:
        """Let go of the socket, before it is closed; who waits for it goes on, and will see that. Harmless twice."""
        self._watch.forget(self._descriptor, self)
        self.tell(select.EPOLLHUP)


def watch(end: socket.socket) -> Watched:
    """Watch a socket in the running event loop."""
    return _watch_of(asyncio.get_running_loop()).add(end)


@lru_cache(maxsize=1)
def _watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """A process has one loop at a time; a second one at once would get a new watch whenever they alternate."""
    return Watch(loop)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _give_up(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_exception(TimeoutError())
