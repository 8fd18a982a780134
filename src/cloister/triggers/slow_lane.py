"""A lane of its own for deliveries whose work takes long, so that nothing quick waits behind them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from cloister.triggers.handling import LaterError

MOST_AT_ONCE = 4
MOST_IN_LANE = 32
"""At work and waiting; more are put off."""
_WAIT_SECONDS = 15.0


@dataclass(kw_only=True)
class SlowLane:
    """Whoever enters gives back the place that they have in the inbox, and waits for one of a few here."""

    on_entered: Callable[[], None] = field(default=lambda: None)
    """Called when a place in the inbox is free again."""
    _inside: int = field(default=0, init=False)
    _places: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(MOST_AT_ONCE), init=False)

    def __len__(self) -> int:
        """How many are at work or wait here."""
        return self._inside

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[None]:
        """Work in here. LaterError when too many do."""
        if self._inside >= MOST_IN_LANE:
            raise LaterError(f"{self._inside} others that take long were here before", seconds=_WAIT_SECONDS)
        self._inside += 1
        try:
            self.on_entered()
            async with self._places:
                yield
        finally:
            self._inside -= 1
