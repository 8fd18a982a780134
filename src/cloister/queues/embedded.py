"""The queue of one machine: any number of processes over one database file, and locks that die with them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import anyio

from cloister.model.cancellation import Cancellation
from cloister.model.event import Event, PendingEvent, RecordedEvent, RecordMissed
from cloister.model.fairness import NO_LIMITS, RunningLimits
from cloister.model.phase import Phase
from cloister.model.record import SignedRecord
from cloister.model.request_key import RequestKey
from cloister.model.task import Attempt, FollowUp, Outcome, Task, TaskId
from cloister.model.worker import Worker
from cloister.protocols import AttemptQueue
from cloister.queues.ledger import Ledger
from cloister.queues.recorder import EventRecorder
from cloister.queues.workers import WorkerLocks

LOOK_SECONDS = 0.05
"""How often other processes' submissions are looked for."""

DEATH_SECONDS = 1.0
"""How often to look for work when nothing was written: a worker's death leaves no mark in the database."""


class EmbeddedQueue:
    """`AttemptQueue` for the processes of one machine."""

    def __init__(self, ledger: Ledger, workers: WorkerLocks, worker: str, limits: RunningLimits) -> None:
        self._limits = limits
        self._ledger = ledger
        self._workers = workers
        self._worker = worker
        self._recorder = EventRecorder(ledger)
        self._submitted = anyio.Event()
        self._seen = ledger.version()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, ledger: Ledger, workers_directory: Path, limits: RunningLimits = NO_LIMITS
    ) -> AsyncIterator[Self]:
        """Be a worker of this machine until the block ends; its leases are void from then on."""
        workers = WorkerLocks(workers_directory)
        with workers.held() as worker:
            queue = cls(ledger, workers, worker, limits)
            async with queue._recorder.running():
                try:
                    yield queue
                finally:
                    with anyio.CancelScope(shield=True):
                        await queue._recorder.flush()

    async def submit(self, task: Task, notes: Sequence[str] = (), key: RequestKey | None = None) -> None:
        """Accept the task; synced."""
        await self._ledger.accept(task, notes, key, committed=self._wake)

    async def follow_up(
        self, task: TaskId, turn: FollowUp, notes: Sequence[str] = (), key: RequestKey | None = None
    ) -> None:
        """Accept another turn; synced."""
        await self._ledger.accept_follow_up(task, turn, notes, key, committed=self._wake)

    async def workers(self) -> Sequence[Worker]:
        """Those whose locks are held."""
        held = await self._ledger.held()
        return [Worker(name=name, attempts=tuple(held.get(name, ()))) for name in self._workers.living()]

    async def claim(self, task: TaskId | None = None) -> Attempt | None:
        """Take the oldest attempt whose worker's lock is free, or that whose turn it is."""
        likely = self._submitted.is_set()
        self._submitted = anyio.Event()
        self._seen = self._ledger.version()
        return await self._ledger.claim(self._worker, self._workers.is_dead, task, limits=self._limits, likely=likely)

    async def claim_unowned(self) -> Attempt | None:
        """Take the oldest attempt whose worker's lock is free, or that waits where no other lock is held."""
        abandoned = self._workers.has_others(self._worker)
        return await self._ledger.claim(self._worker, self._workers.is_dead, abandoned=abandoned)

    async def wait_for_work(self) -> None:
        """Wakes by event for this process's submissions, by a look at the database for those of others."""
        with anyio.move_on_after(DEATH_SECONDS):
            while not self._submitted.is_set():
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._submitted.wait()
                if self._seen != self._ledger.version():
                    return

    async def renew(self, attempt: Attempt) -> bool:
        """Whether to go on. The lease itself is the lock: it needs no renewal while this process lives."""
        self._recorder.check(attempt.lease)
        return await self._ledger.holds(attempt.lease)

    async def cancellation(self, attempt: Attempt) -> Cancellation:
        """As it is in the database."""
        return await self._ledger.cancellation(attempt.lease)

    async def record(self, attempt: Attempt, phase: Phase | None, *events: Event) -> None:
        """Append, soon."""
        now = datetime.now(UTC)
        pending = [PendingEvent(lease=attempt.lease, at=now, phase=phase, event=event) for event in events]
        await self._recorder.add(attempt.lease, pending)

    async def output_offset(self, attempt: Attempt, command: str) -> int:
        """Where recorded output ends, with what was recorded a moment ago."""
        await self._recorder.flush()
        return await self._ledger.output_offset(attempt.id, command)

    async def told(self, attempt: Attempt) -> Sequence[RecordedEvent]:
        """What was recorded of it by now."""
        await self._recorder.flush()
        return await self._ledger.told(attempt.task.id, attempt.id)

    async def finish(
        self, attempt: Attempt, outcome: Outcome, record: SignedRecord | RecordMissed | None = None
    ) -> None:
        """End the attempt after all its events; synced."""
        await self._recorder.flush()
        await self._ledger.finish(attempt.lease, outcome, record)

    def _wake(self) -> None:
        """Work begins while the acceptance is being synced: what a power cut undoes then, nobody was told of."""
        self._submitted.set()


_: type[AttemptQueue] = EmbeddedQueue
