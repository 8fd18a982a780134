"""Time limits of connections: there are many of them, they hardly ever run out, and a moment more does no harm."""

import asyncio
from collections.abc import Callable

_STEP_SECONDS = 0.125
"""All that is due within one of these has one timer of the event loop, which takes long to set."""


class Alarm:
    """Set until it has rung, or was cancelled."""

    __slots__ = ("_others", "ring")

    def __init__(self, others: "set[Alarm]", ring: Callable[[], None]) -> None:
        self._others = others
        self.ring = ring

    def cancel(self) -> None:
        """Let it not ring. Harmless twice, and after it has rung."""
        self._others.discard(self)


class Alarms:
    """The alarms of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._set: dict[int, set[Alarm]] = {}
        """By the step at whose end they ring."""

    def after(self, seconds: float, ring: Callable[[], None]) -> Alarm:
        """Call `ring` when so many seconds have passed; it must not fail."""
        step = int((self._loop.time() + seconds) / _STEP_SECONDS) + 1
        due = self._set.get(step)
        if due is None:
            due = self._set[step] = set()
            self._loop.call_at(step * _STEP_SECONDS, self._ring, step)
        alarm = Alarm(due, ring)
        due.add(alarm)
        return alarm

    def _ring(self, step: int) -> None:
        due = self._set.pop(step)
        while due:
            due.pop().ring()
