"""Writes events behind the caller's back, in order, as many in one transaction as have come together."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio

from cloister.errors import CloisterError, LeaseLostError
from cloister.model.event import PendingEvent
from cloister.model.task import Lease
from cloister.queues.ledger import Ledger

MOST_WAITING = 10_000
"""Events in memory; a caller that adds more waits for the disk."""
LINGER_SECONDS = 0.03
"""More may follow at once, above all while an attempt is being started, which a write would slow down."""


class EventRecorder:
    """A buffer before the ledger. What could not be written stays in it, and the next caller is told."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[PendingEvent] = []
        self._arrived = anyio.Event()
        self._writing = anyio.Lock()
        self._void: set[Lease] = set()
        self._failed = False

    async def add(self, lease: Lease, events: Sequence[PendingEvent]) -> None:
        """Take events, for one transaction; microseconds, unless the last write failed or the buffer is full."""
        self.check(lease)
        self._waiting.extend(events)
        self._arrived.set()
        if self._failed or len(self._waiting) > MOST_WAITING:
            await self.flush()
            self.check(lease)

    def check(self, lease: Lease) -> None:
        """Raise LeaseLostError when a write under this lease was refused before."""
        if lease in self._void:
            raise LeaseLostError(f"attempt {lease.attempt} is over, or was taken over after retry {lease.retry}")

    async def flush(self) -> None:
        """Write what waits. On an error nothing is lost: it waits on, in its place."""
        async with self._writing:
            if not self._waiting:
                return
            batch, self._waiting = self._waiting, []
            try:
                with anyio.CancelScope(shield=True):
                    self._void.update(await self._ledger.append(batch))
            except BaseException:
                self._waiting = batch + self._waiting
                self._failed = True
                raise
            self._failed = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write in the background inside this block, and what is left at its end."""
        failure: Exception | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(self._write_forever)
            try:
                yield
            except Exception as error:  # raised below, because the group would wrap it
                failure = error
            group.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _write_forever(self) -> None:
        while True:
            await self._arrived.wait()
            await anyio.sleep(LINGER_SECONDS)
            self._arrived = anyio.Event()
            try:
                await self.flush()
            except CloisterError:
                continue  # `add` and `finish` meet it again, and can tell their callers
