"""What a queue needs of the database. A queue adds who is alive, when to look, and when to write."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from cloister.model.cancellation import Cancellation
from cloister.model.event import PendingEvent, RecordedEvent, RecordMissed
from cloister.model.fairness import NO_LIMITS, RunningLimits
from cloister.model.record import SignedRecord
from cloister.model.request_key import RequestKey
from cloister.model.task import Attempt, AttemptId, FollowUp, Lease, Outcome, Task, TaskId


class Ledger(Protocol):
    """The rows behind a queue. Every method is one transaction; StoreError or DiskFullError when it fails."""

    def version(self) -> int:
        """Cheap; differs when another process may have written since the last call."""
        ...

    async def accept(
        self,
        task: Task,
        notes: Sequence[str],
        key: RequestKey | None = None,
        *,
        committed: Callable[[], None] | None = None,
    ) -> None:
        """Keep a new task with its attempts and `task_accepted`, synced. ConflictError when the id is taken.

        `committed` is called when it can be claimed, before it is synced.
        """
        ...

    async def accept_follow_up(
        self,
        task: TaskId,
        turn: FollowUp,
        notes: Sequence[str],
        key: RequestKey | None = None,
        *,
        committed: Callable[[], None] | None = None,
    ) -> None:
        """Keep one more turn of a task with its attempts and `turn_accepted`, synced. See `AttemptQueue.follow_up`.

        `committed` is called when it can be claimed, before it is synced.
        """
        ...

    async def held(self) -> Mapping[str, Sequence[AttemptId]]:
        """The attempts under a lease, by the worker that has it."""
        ...

    async def claim(
        self,
        worker: str,
        is_dead: Callable[[str], bool],
        task: TaskId | None = None,
        *,
        limits: RunningLimits = NO_LIMITS,
        abandoned: bool = False,
        likely: bool = False,
    ) -> Attempt | None:
        """Lease an attempt (of `task`, when given): the oldest whose worker is dead, or that `choose_lane` chooses.

        From a dead worker, `retry` is counted up. With `abandoned`, those that wait are left. When it is `likely` that
        there is one, nobody looks first without keeping others from writing.
        """
        ...

    async def holds(self, lease: Lease) -> bool:
        """False when the attempt shall be cancelled. LeaseLostError when the lease is void."""
        ...

    async def cancellation(self, lease: Lease) -> Cancellation:
        """How the attempt shall be cancelled. LeaseLostError when the lease is void."""
        ...

    async def append(self, events: Sequence[PendingEvent]) -> Collection[Lease]:
        """Append in order, leave out what is under a void lease, and return the void leases."""
        ...

    async def output_offset(self, attempt: AttemptId, command: str) -> int:
        """Where the appended output of that command ends."""
        ...

    async def told(self, task: TaskId, attempt: AttemptId) -> Sequence[RecordedEvent]:
        """An attempt's log, without output."""
        ...

    async def finish(self, lease: Lease, outcome: Outcome, record: SignedRecord | RecordMissed | None = None) -> None:
        """End the attempt, and with the last one the task, with their events, synced. LeaseLostError as above.

        With it the record for the verdict that it ends with is kept, or the event that says why there is none.
        """
        ...
