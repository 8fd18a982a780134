"""Tasks: kept, handed to workers, and what came with them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

import anyio

from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.event import Event, RecordedEvent, RecordMissed
from cloister.model.phase import Phase
from cloister.model.record import SignedRecord
from cloister.model.request_key import KeptRequest, RequestKey
from cloister.model.sandbox import SandboxName
from cloister.model.statistics import Statistics
from cloister.model.task import Attempt, AttemptId, FollowUp, Outcome, Task, TaskId, TaskStatus
from cloister.model.task_filter import EVERY_TASK, TaskFilter
from cloister.model.worker import Worker


class AttemptQueue(Protocol):
    """Attempts that wait for a worker, and what workers write about them.

    Every write is fenced: LeaseLostError when `attempt.retry` is not the newest or the attempt is over, and
    nothing is written.
    """

    async def submit(self, task: Task, notes: Sequence[str] = (), key: RequestKey | None = None) -> None:
        """Accept the task and its attempts, with the event `task_accepted`. Synced to disk when this returns.

        With a key, it stands for this request from then on, see `TaskStore.find_request`; UnderWayError when it stands
        for one already.
        """
        ...

    async def follow_up(
        self, task: TaskId, turn: FollowUp, notes: Sequence[str] = (), key: RequestKey | None = None
    ) -> None:
        """Accept one more turn and its attempts, with the event `turn_accepted`. Synced to disk when this returns.

        The task is then where this turn is. ConflictError unless its last turn is over and has the number before this
        one's, so that of several callers one succeeds; NotFoundError when there is no such task. A key as for `submit`.
        """
        ...

    async def workers(self) -> Sequence[Worker]:
        """Those that live, with the attempts that they hold, by name."""
        ...

    async def claim(self, task: TaskId | None = None) -> Attempt | None:
        """Take the oldest attempt whose worker died (`retry` is counted up), else the one whose turn it is.

        Users take turns, and priorities go first, as `fairness.choose_lane` says. None when none waits, or when limits
        of what may run at once hold back all that do. With `task`, only attempts of that one.
        """
        ...

    async def claim_unowned(self) -> Attempt | None:
        """Take an attempt whose worker died; one that waits too, when no other worker lives that could take it."""
        ...

    async def wait_for_work(self) -> None:
        """Return when `claim` may find something; may return early."""
        ...

    async def renew(self, attempt: Attempt) -> bool:
        """Keep the lease. False when the attempt shall be cancelled."""
        ...

    async def cancellation(self, attempt: Attempt) -> Cancellation:
        """Return how the attempt shall be cancelled, as it was asked for last."""
        ...

    async def record(self, attempt: Attempt, phase: Phase | None, *events: Event) -> None:
        """Append to the task's log, in order. May return before it is on disk; `finish` makes sure of it.

        The events of one call are written all at once, or not at all. What is found out after it returned (a lost
        lease, a full disk) is raised by a later call. Events whose call raised anything but LeaseLostError are kept
        all the same, and written later.
        """
        ...

    async def output_offset(self, attempt: Attempt, command: str) -> int:
        """Where what was recorded of that command ends, so that a re-attached reader does not record it twice.

        The largest offset of its events, see `Event.read_to`; 0 when there is none.
        """
        ...

    async def told(self, attempt: Attempt) -> Sequence[RecordedEvent]:
        """Return the attempt's log so far, with what `record` was given a moment ago, and without output."""
        ...

    async def finish(
        self, attempt: Attempt, outcome: Outcome, record: SignedRecord | RecordMissed | None = None
    ) -> None:
        """End the attempt, and with the last one the task, with their events. Synced to disk when this returns.

        When its cancellation was asked for before, it ends as cancelled, whatever the outcome says. The record for
        its verdict is kept with it, or the event that says why there is none: both are written, or neither.
        """
        ...


class StatisticsStore(Protocol):
    """Numbers of all tasks."""

    async def statistics(self, since: datetime, until: datetime, *, parts: int) -> Statistics:
        """Numbers of what was accepted and asked from `since` on and before `until`, tasks in so many equal parts.

        Of requests by host, no more are counted than `model.statistics` says.
        """
        ...


class TaskStore(Protocol):
    """What users ask about tasks. NotFoundError for an unknown id; a unique prefix of an id will do."""

    async def get(self, task: str) -> TaskStatus:
        """The task and its attempts."""
        ...

    async def list(
        self, *, limit: int = 50, before: TaskId | None = None, only: TaskFilter = EVERY_TASK
    ) -> Sequence[TaskStatus]:
        """The newest tasks, newest first; their patches and diffs are left out (empty).

        Only those that were accepted before the task `before` (NotFoundError), and that are like `only`.
        """
        ...

    async def last_looked_at(self, *, within: int, before: TaskId | None = None) -> TaskId | None:
        """Where a search of so many tasks ends: what it has not looked at is before that one. None when that is all."""
        ...

    async def phases(self, tasks: Sequence[TaskId]) -> Mapping[TaskId, Phase]:
        """In which phase something happened last in each of these tasks; tasks without are left out."""
        ...

    async def set_archived(self, task: TaskId, archived: bool) -> None:
        """Put a task that is over out of sight, or back. Harmless twice; a further turn brings it back too.

        ConflictError for one that is not over and shall be archived.
        """
        ...

    def events(
        self,
        task: TaskId,
        *,
        after: int = 0,
        follow: bool = False,
        output: bool = True,
        until: anyio.Event | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the task's log from after that `seq`; with `follow` until the task is over, also across processes.

        Or until `until` is set, and all that there is by then is told. Without `output`, what programs printed is left
        out. Whoever reads slowly holds little of the log in memory.
        """
        ...

    async def find_request(self, digest: str, now: datetime) -> KeptRequest | None:
        """Which turn the request of a key made; None when the key is unknown, or was used too long ago."""
        ...

    async def last_seq(self, task: TaskId) -> int:
        """The `seq` of the newest event of the task's log. NotFoundError."""
        ...

    async def find_record(self, attempt: AttemptId) -> bytes | None:
        """The signed record of an attempt, as it was given to `finish`; None when it has none."""
        ...

    async def cancel(
        self, task: TaskId, attempt: AttemptId | None = None, cancellation: Cancellation = AT_ONCE
    ) -> None:
        """Ask for the end of every attempt that is not over, or of that one; those that no worker took end at once.

        Harmless twice. How is said by whoever asks last.
        """
        ...

    async def live_sandboxes(self) -> Sequence[SandboxName]:
        """Sandboxes of attempts that are not over; every other one on this node is a stray."""
        ...


class FileStore(Protocol):
    """Files that are kept on this node for a task or an attempt of it, by an owner's name and their own.

    Names are letters, digits and `. _ -`, and begin with one of the first two.
    """

    async def keep(self, owner: str, files: Mapping[str, bytes], *, with_those_of: str | None = None) -> None:
        """Keep these, all or none, in place of what the owner had; with another owner's, which are not changed.

        StoreError; DiskFullError.
        """
        ...

    def append(self, owner: str, name: str, data: bytes) -> None:
        """Add to a file that is kept as it grows: each piece is there at once. StoreError; DiskFullError."""
        ...

    async def read(self, owner: str, name: str) -> bytes:
        """Return a file. NotFoundError when it is not here."""
        ...

    def folder(self, owner: str) -> Path | None:
        """Return where an owner's files lie, readable to everybody who gets there; None when it has none here."""
        ...

    async def owners(self, *, before: datetime | None = None) -> Sequence[str]:
        """Everybody who has files here, sorted; with `before`, those whose newest file was kept before that."""
        ...

    async def remove(self, owner: str) -> None:
        """Forget an owner's files. Absent is not an error."""
        ...
