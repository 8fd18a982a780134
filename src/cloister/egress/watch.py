"""Which sockets are ready: each is registered with the kernel once, for as long as it is open.

The watches of event loops take several system calls whenever one begins or ends, and a tunnel would need a dozen of
them. In the egress process this epoll is the loop's own (`EgressLoop`); any other loop watches it.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from functools import lru_cache, partial

from cloister.egress.alarms import Alarms

_ENDS = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_FOR_READERS = select.EPOLLIN | _ENDS
_FOR_WRITERS = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
_EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_MOST_AT_ONCE = 256


class Watch:
    """All that is watched in one event loop (epoll(7))."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.epoll = select.epoll()
        self.alarms = Alarms(loop)
        self._watched: dict[int, Watched] = {}

    def add(self, end: socket.socket) -> "Watched":
        """Register a socket that does not block; a connecting one after it began to."""
        descriptor = end.fileno()
        self.epoll.register(descriptor, _EVENTS)
        watched = self._watched[descriptor] = Watched(self, descriptor)
        return watched

    def forget(self, descriptor: int, watched: "Watched", *, is_shared: bool) -> None:
        """Let go of a socket. The kernel does that by itself, but not as long as another process has it too."""
        if self._watched.get(descriptor) is watched:  # else it is another's by now
            del self._watched[descriptor]
            if is_shared:
                self.epoll.unregister(descriptor)

    def wait(self, seconds: float | None = 0) -> list[tuple[int, int]]:
        """Wait for changes, for ever with None, and tell each watched socket of its own; return the others."""
        others = []
        for descriptor, events in self.epoll.poll(seconds, _MOST_AT_ONCE):
            watched = self._watched.get(descriptor)
            if watched is None:
                others.append((descriptor, events))
                continue
            try:
                watched.tell(events)
            except Exception as error:  # a bug in one must not cost the others what they are told only once
                self.loop.call_exception_handler({"message": "a socket's reader or writer failed", "exception": error})
        return others


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

    async def writable(self, *, seconds: float | None = None) -> None:
        """Return when more may be written. TimeoutError when that takes more than so many seconds."""
        ready = self._watch.loop.create_future()
        self._on_writable = writer = partial(_settle, ready)
        alarm = self._watch.alarms.after(seconds, partial(_give_up, ready)) if seconds is not None else None
        try:
            await ready
        finally:
            if alarm is not None:
                alarm.cancel()
            if self._on_writable is writer:
                self._on_writable = None

    def close(self, *, is_shared: bool = True) -> None:
        """Let go of the socket, before it is closed; who waits for it goes on, and will see that. Harmless twice.

        One that is not shared with another process has to be closed at once.
        """
        self._watch.forget(self._descriptor, self, is_shared=is_shared)
        if self._on_readable is not None or self._on_writable is not None:
            self.tell(select.EPOLLHUP)


def watch(end: socket.socket) -> Watched:
    """Watch a socket in the running event loop."""
    return running_watch().add(end)


def running_watch() -> Watch:
    """Return the running event loop's."""
    return _watch_of(asyncio.get_running_loop())


@lru_cache(maxsize=1)
def _watch_of(loop: asyncio.AbstractEventLoop) -> Watch:
    """A process has one loop at a time; a second one at once would get a new watch whenever they alternate."""
    own = getattr(loop, "watch", None)
    if isinstance(own, Watch):
        return own
    watch = Watch(loop)
    loop.add_reader(watch.epoll.fileno(), watch.wait)
    return watch


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


def _give_up(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_exception(TimeoutError())
