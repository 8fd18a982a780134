"""Tells watchers what passes through a queue: everything that a worker does is told there."""

from collections.abc import Sequence
from typing import Protocol

from cloister.model.cancellation import Cancellation
from cloister.model.event import Event, RecordedEvent, RecordMissed
from cloister.model.phase import Phase
from cloister.model.record import SignedRecord
from cloister.model.request_key import RequestKey
from cloister.model.task import Attempt, FollowUp, Outcome, Task, TaskId
from cloister.model.worker import Worker
from cloister.protocols import AttemptQueue


class QueueWatcher(Protocol):
    """Who is told. Quick, and never fails."""

    def accepted(self, attempts: int) -> None:
        """A task or a turn was accepted, with so many attempts."""
        ...

    def claimed(self, attempt: Attempt) -> None:
        """A worker of this process took an attempt."""
        ...

    def told(self, attempt: Attempt, phase: Phase | None, event: Event) -> None:
        """Something happened in it."""
        ...

    async def finished(self, attempt: Attempt, outcome: Outcome) -> None:
        """It is over, and that is on disk."""
        ...


class WatchedQueue:
    """`protocols.AttemptQueue` that tells what another one does."""

    def __init__(self, queue: AttemptQueue, watchers: Sequence[QueueWatcher]) -> None:
        self._queue = queue
        self._watchers = watchers

    async def submit(self, task: Task, notes: Sequence[str] = (), key: RequestKey | None = None) -> None:
        """See `protocols.AttemptQueue`."""
        await self._queue.submit(task, notes, key)
        for watcher in self._watchers:
            watcher.accepted(task.attempts)

    async def follow_up(
        self, task: TaskId, turn: FollowUp, notes: Sequence[str] = (), key: RequestKey | None = None
    ) -> None:
        """See `protocols.AttemptQueue`."""
        await self._queue.follow_up(task, turn, notes, key)
        for watcher in self._watchers:
            watcher.accepted(turn.attempts)

    async def workers(self) -> Sequence[Worker]:
        """See `protocols.AttemptQueue`."""
        return await self._queue.workers()

    async def claim(self, task: TaskId | None = None) -> Attempt | None:
        """See `protocols.AttemptQueue`."""
        attempt = await self._queue.claim(task)
        if attempt is not None:
            for watcher in self._watchers:
                watcher.claimed(attempt)
        return attempt

    async def claim_unowned(self) -> Attempt | None:
        """See `protocols.AttemptQueue`."""
        return await self._queue.claim_unowned()

    async def wait_for_work(self) -> None:
        """See `protocols.AttemptQueue`."""
        await self._queue.wait_for_work()

    async def renew(self, attempt: Attempt) -> bool:
        """See `protocols.AttemptQueue`."""
        return await self._queue.renew(attempt)

    async def cancellation(self, attempt: Attempt) -> Cancellation:
        """See `protocols.AttemptQueue`."""
        return await self._queue.cancellation(attempt)

    async def record(self, attempt: Attempt, phase: Phase | None, *events: Event) -> None:
        """See `protocols.AttemptQueue`."""
        for watcher in self._watchers:
            for event in events:
                watcher.told(attempt, phase, event)
        await self._queue.record(attempt, phase, *events)

    async def output_offset(self, attempt: Attempt, command: str) -> int:
        """See `protocols.AttemptQueue`."""
        return await self._queue.output_offset(attempt, command)

    async def told(self, attempt: Attempt) -> Sequence[RecordedEvent]:
        """See `protocols.AttemptQueue`."""
        return await self._queue.told(attempt)

    async def finish(
        self, attempt: Attempt, outcome: Outcome, record: SignedRecord | RecordMissed | None = None
    ) -> None:
        """See `protocols.AttemptQueue`."""
        await self._queue.finish(attempt, outcome, record)
        for watcher in self._watchers:
            await watcher.finished(attempt, outcome)


def _conforms(queue: WatchedQueue) -> AttemptQueue:
    return queue
