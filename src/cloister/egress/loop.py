"""The event loop of the egress process: what the kernel reports of a socket goes straight to who watches it.

A loop that watches an epoll in an epoll asks the kernel twice for each chunk of a tunnel, and turns once more around
for nothing. Here `watch` has the loop's own epoll, and callbacks are run where it is waited for: asyncio's own turn,
which takes long, comes only when a timer is due, or another thread has something for it.
"""

import asyncio
import select
import selectors
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from time import monotonic
from typing import Any, TypeVarTuple, Unpack

from cloister.egress.watch import Watch

_Ts = TypeVarTuple("_Ts")


class EgressLoop(asyncio.SelectorEventLoop):
    """Runs callbacks and timers in the order of asyncio's own."""

    def __init__(self) -> None:
        self.watch = Watch(self)
        self._turns = _Turns(self, self.watch)
        super().__init__(self._turns)

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run the callback in the next turn."""
        handle = _Soon(callback, args, copy_context() if context is None else context)
        self._turns.soon.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Do as every loop."""
        self._turns.must_return = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        """Do as every loop."""
        self._turns.must_return = True
        super().stop()


class _Soon(asyncio.Handle):
    """A callback of the next turn."""

    __slots__ = ("_arguments", "_is_cancelled", "_run_in", "_what")

    def __init__(self, what: Callable[..., object], arguments: tuple[Any, ...], context: Context) -> None:
        self._what = what
        self._arguments = arguments
        self._run_in = context.run
        self._is_cancelled = False

    def __repr__(self) -> str:
        return f"<call of {self._what!r}>"

    def cancel(self) -> None:
        """Do not run it."""
        self._is_cancelled = True

    def cancelled(self) -> bool:
        """Whether it will not run, or would not have."""
        return self._is_cancelled

    def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call it. What it raises is the loop's to report."""
        if self._is_cancelled:
            return
        try:
            self._run_in(self._what, *self._arguments)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            loop.call_exception_handler({"message": f"{self!r} failed", "exception": error, "handle": self})


class _Turns(selectors.BaseSelector):
    """What the loop waits with. It registers little itself: the socket by which other threads wake it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: Watch) -> None:
        self._loop = loop
        self._watch = watch
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.soon: deque[_Soon] = deque()
        """Callbacks of the next turn."""
        self.must_return = False
        """Whether the loop has to look at its own timers, or stop."""

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """See `BaseSelector`."""
        descriptor = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        self._watch.epoll.register(descriptor, _mask(events))
        key = self._keys[descriptor] = selectors.SelectorKey(fileobj, descriptor, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """See `BaseSelector`."""
        key = self.get_key(fileobj)
        del self._keys[key.fd]
        self._watch.epoll.unregister(key.fd)
        return key

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """See `BaseSelector`."""
        return self._keys[fileobj if isinstance(fileobj, int) else fileobj.fileno()]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """See `BaseSelector`."""
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Take turns until so many seconds have passed, or the loop has something else to do; see `BaseSelector`."""
        until = None if timeout is None else monotonic() + timeout
        self.must_return = False
        while True:
            self._run_soon()
            others = self._watch.wait(0 if self.soon or self.must_return else timeout)
            if others or self.must_return:
                return [(self._keys[number], _events(mask)) for number, mask in others if number in self._keys]
            if until is not None and (timeout := until - monotonic()) <= 0:
                return []

    def _run_soon(self) -> None:
        """Run the callbacks of this turn; theirs come in the next one, after what the kernel has to report."""
        soon = self.soon
        for _ in range(len(soon)):
            soon.popleft().run(self._loop)

    def close(self) -> None:
        """See `BaseSelector`."""
        self._keys.clear()
        self.soon.clear()
        self._watch.epoll.close()


def _mask(events: int) -> int:
    wanted = select.EPOLLIN if events & selectors.EVENT_READ else 0
    return wanted | (select.EPOLLOUT if events & selectors.EVENT_WRITE else 0)


def _events(mask: int) -> int:
    """Return a change as selectors tell it: an end or an error is for readers and writers."""
    found = selectors.EVENT_WRITE if mask & ~select.EPOLLIN else 0
    return found | (selectors.EVENT_READ if mask & ~select.EPOLLOUT else 0)
