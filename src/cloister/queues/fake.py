"""A queue and a task store in memory, with the fences of the real ones."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import anyio.lowlevel

from cloister.errors import CloisterError, ConflictError, LeaseLostError, NotFoundError, UnderWayError, UsageError
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.conversation import check_archivable, check_turn, continuation_of
from cloister.model.event import (
    AttemptFinished,
    Event,
    Output,
    RecordedEvent,
    RecordMissed,
    TaskAccepted,
    TaskFinished,
    TurnAccepted,
)
from cloister.model.fairness import NO_LIMITS, HeldBy, Priority, RunningLimits, choose_lane
from cloister.model.phase import Phase
from cloister.model.record import SignedRecord
from cloister.model.request_key import REMEMBERED, KeptRequest, RequestKey
from cloister.model.sandbox import SandboxName
from cloister.model.task import (
    Attempt,
    AttemptId,
    AttemptStatus,
    FollowUp,
    Outcome,
    Task,
    TaskId,
    TaskState,
    TaskStatus,
    Turn,
    Verdict,
    attempt_id,
    best_verdict,
    first_turn,
)
from cloister.model.task_filter import EVERY_TASK, TaskFilter
from cloister.model.worker import Worker
from cloister.protocols import AttemptQueue, TaskStore
from cloister.queues.fake_lanes import Entry, lanes_of, place_of, running_of

OnCall = Callable[[str, str], Awaitable[None]]
"""Told of each call before it takes effect, as (attempt or task, call). What it raises, the call raises."""


class FakeQueue:
    """Tasks and attempts in memory: `AttemptQueue` and `TaskStore` in one."""

    def __init__(self, *, on_call: OnCall | None = None, limits: RunningLimits = NO_LIMITS) -> None:
        self._on_call = on_call
        self.limits = limits
        self._archived: set[TaskId] = set()
        self._served: dict[tuple[str, Priority], int] = {}
        self._tasks: dict[TaskId, Task] = {}
        self._entries: dict[AttemptId, Entry] = {}
        self._log: dict[TaskId, list[RecordedEvent]] = {}
        self._later: dict[TaskId, list[tuple[FollowUp, int]]] = {}
        """Turns after the first, each with the seq of its acceptance."""
        self._requests: dict[str, tuple[RequestKey, KeptRequest]] = {}
        self._changed = anyio.Event()

    async def submit(self, task: Task, notes: Sequence[str] = (), key: RequestKey | None = None) -> None:
        """See `protocols.AttemptQueue`."""
        await self._tell(task.id, "submit")
        if task.id in self._tasks:
            raise ConflictError(f"there is a task {task.id} already")
        self._keep_request(key, task.id, 1)
        self._tasks[task.id] = task
        self._log[task.id] = []
        self._later[task.id] = []
        for number in range(1, task.attempts + 1):
            attempt = Attempt(id=attempt_id(task.id, 1, number), task=task, number=number)
            self._entries[attempt.id] = Entry(attempt=attempt, asked_by=task.asked_by)
        self._served.setdefault((task.asked_by, task.priority), 0)
        self._append(
            task.id,
            TaskAccepted(
                commit=task.revision.commit,
                ref=task.revision.ref,
                environment=task.environment.name,
                environment_version=task.environment_version,
                notes=tuple(notes),
                trace=task.trace_id,
            ),
        )

    async def follow_up(
        self, task: TaskId, turn: FollowUp, notes: Sequence[str] = (), key: RequestKey | None = None
    ) -> None:
        """See `protocols.AttemptQueue`."""
        await self._tell(task, "follow up")
        status = self._status(task) if task in self._tasks else None
        check_turn(task, turn, state=status.state if status else None, last=status.last_turn.number if status else None)
        self._keep_request(key, task, turn.number)
        self._append(
            task,
            TurnAccepted(turn=turn.number, continues=turn.continues, attempts=turn.attempts, notes=tuple(notes)),
        )
        self._archived.discard(task)
        self._later[task].append((turn, len(self._log[task])))
        for number in range(1, turn.attempts + 1):
            attempt = Attempt(
                id=attempt_id(task, turn.number, number), task=self._tasks[task], turn=turn.number, number=number
            )
            self._entries[attempt.id] = Entry(attempt=attempt, asked_by=turn.asked_by)
        self._served.setdefault((turn.asked_by, self._tasks[task].priority), 0)
        turns = self._turns(task)
        for entry in self._of_last_turn(task):
            entry.attempt = replace(entry.attempt, continues=continuation_of(turns, turns[-1]))

    def _keep_request(self, key: RequestKey | None, task: TaskId, turn: int) -> None:
        if key is None:
            return
        former = self._requests.get(key.digest)
        if former is not None and key.at - former[0].at < REMEMBERED:
            raise UnderWayError("the request of this Idempotency-Key was carried out this very moment")
        self._requests[key.digest] = (key, KeptRequest(fingerprint=key.fingerprint, task=task, turn=turn))

    async def find_request(self, digest: str, now: datetime) -> KeptRequest | None:
        """See `protocols.TaskStore`."""
        key, kept = self._requests.get(digest, (None, None))
        return kept if key is not None and now - key.at < REMEMBERED else None

    async def workers(self) -> Sequence[Worker]:
        """See `protocols.AttemptQueue`; there is one."""
        running = [entry.attempt.id for entry in self._entries.values() if entry.state is TaskState.RUNNING]
        return [Worker(name="fake", attempts=tuple(running))]

    async def claim(self, task: TaskId | None = None) -> Attempt | None:
        """See `protocols.AttemptQueue`; no worker dies here but by `abandon`."""
        await self._tell("", "claim")
        meant = [entry for entry in self._entries.values() if task in (None, entry.attempt.task.id)]
        for entry in meant:
            if entry.abandoned:
                entry.abandoned = False
                return entry.attempt
        running = running_of(self._entries.values())
        full = running.full_environments(self.limits)
        able = [entry for entry in meant if entry.attempt.task.environment.name not in full]
        lane = choose_lane(lanes_of(able, self._entries.values(), self._served), running, self.limits)
        if lane is None:
            return None
        assert lane.oldest is not None
        entry = [*self._entries.values()][lane.oldest]
        entry.state = TaskState.RUNNING
        self._served[lane.user, lane.priority] = max(self._served.values()) + 1
        return entry.attempt

    async def claim_unowned(self) -> Attempt | None:
        """See `protocols.AttemptQueue`; no other worker ever lives here."""
        return await self.claim()

    async def wait_for_work(self) -> None:
        """See `protocols.AttemptQueue`."""
        await self._changed.wait()

    async def renew(self, attempt: Attempt) -> bool:
        """See `protocols.AttemptQueue`."""
        await self._tell(attempt.id, "renew")
        return not self._get_leased(attempt).cancelled

    async def cancellation(self, attempt: Attempt) -> Cancellation:
        """See `protocols.AttemptQueue`."""
        return self._get_leased(attempt).cancellation

    async def record(self, attempt: Attempt, phase: Phase | None, *events: Event) -> None:
        """See `protocols.AttemptQueue`."""
        self._get_leased(attempt)
        try:
            await self._tell(attempt.id, f"record {' '.join(event.wire_name for event in events)}")
        except LeaseLostError:
            raise
        except CloisterError:
            self._append_all(attempt, events, phase)  # kept, and written later
            raise
        self._append_all(attempt, events, phase)

    async def output_offset(self, attempt: Attempt, command: str) -> int:
        """See `protocols.AttemptQueue`."""
        await self._tell(attempt.id, f"output offset of {command}")
        places = [it.event.read_to for it in self._log[attempt.task.id] if it.attempt == attempt.id]
        return max((place[1] for place in places if place and place[0] == command), default=0)

    async def told(self, attempt: Attempt) -> Sequence[RecordedEvent]:
        """See `protocols.AttemptQueue`."""
        await self._tell(attempt.id, "told")
        log = self._log[attempt.task.id]
        return [event for event in log if event.attempt == attempt.id and not isinstance(event.event, Output)]

    async def finish(
        self, attempt: Attempt, outcome: Outcome, record: SignedRecord | RecordMissed | None = None
    ) -> None:
        """See `protocols.AttemptQueue`."""
        await self._tell(attempt.id, f"finish {outcome.verdict}")
        entry = self._get_leased(attempt)
        said = outcome.as_cancelled() if entry.cancelled else outcome
        match record:
            case SignedRecord():
                entry.record = record.envelopes.get(said.verdict)
            case RecordMissed():
                self._append(attempt.task.id, record, attempt.id)
        self._end(entry, said)

    def abandon(self, attempt: Attempt) -> None:
        """Let the worker of that attempt be dead: the next claim takes the attempt over."""
        entry = self._get_leased(attempt)
        entry.attempt, entry.abandoned = replace(entry.attempt, retry=attempt.retry + 1), True
        self._wake()

    async def get(self, task: str) -> TaskStatus:
        """See `protocols.TaskStore`."""
        return self._status(self._resolve(task))

    async def list(
        self, *, limit: int = 50, before: TaskId | None = None, only: TaskFilter = EVERY_TASK
    ) -> Sequence[TaskStatus]:
        """See `protocols.TaskStore`; patches and diffs are not left out."""
        found = [self._status(task) for task in self._newest_first(before)[: only.within]]
        return [status for status in found if only.matches(status)][:limit]

    async def last_looked_at(self, *, within: int, before: TaskId | None = None) -> TaskId | None:
        """See `protocols.TaskStore`."""
        in_question = self._newest_first(before)
        return in_question[within - 1] if len(in_question) > within else None

    async def phases(self, tasks: Sequence[TaskId]) -> Mapping[TaskId, Phase]:
        """See `protocols.TaskStore`."""
        told = {task: [it.phase for it in self._log.get(task, ()) if it.phase is not None] for task in tasks}
        return {task: phases[-1] for task, phases in told.items() if phases}

    def _newest_first(self, before: TaskId | None) -> Sequence[TaskId]:
        newest_first = [*reversed(self._tasks)]
        return newest_first if before is None else newest_first[newest_first.index(self._resolve(before)) + 1 :]

    async def set_archived(self, task: TaskId, archived: bool) -> None:
        """See `protocols.TaskStore`."""
        status = await self.get(task)
        check_archivable(status.task.id, status.state, archived)
        (self._archived.add if archived else self._archived.discard)(status.task.id)

    async def events(
        self,
        task: TaskId,
        *,
        after: int = 0,
        follow: bool = False,
        output: bool = True,
        until: anyio.Event | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """See `protocols.TaskStore`."""
        log = self._log[self._resolve(task)]
        while True:
            changed = self._changed
            for event in log[after:]:
                after = event.seq
                if output or not isinstance(event.event, Output):
                    yield event
            if not follow or (log and isinstance(log[-1].event, TaskFinished)) or (until and until.is_set()):
                return
            async with anyio.create_task_group() as group:
                for happened in (changed, *([until] if until else [])):
                    group.start_soon(_cancel_when, happened, group.cancel_scope)

    async def last_seq(self, task: TaskId) -> int:
        """See `protocols.TaskStore`."""
        return len(self._log[self._resolve(task)])

    async def find_record(self, attempt: AttemptId) -> bytes | None:
        """See `protocols.TaskStore`."""
        return self._entries[attempt].record if attempt in self._entries else None

    async def cancel(
        self, task: TaskId, attempt: AttemptId | None = None, cancellation: Cancellation = AT_ONCE
    ) -> None:
        """See `protocols.TaskStore`."""
        await self._tell(task, "cancel")
        for entry in self._of(self._resolve(task)):
            if attempt not in (None, entry.attempt.id):
                continue
            if entry.state is TaskState.QUEUED:
                self._end(entry, Outcome(verdict=Verdict.CANCELLED, reason="cancelled before a worker took it"))
            entry.cancelled = entry.state is TaskState.RUNNING
            entry.cancellation = cancellation

    async def live_sandboxes(self) -> Sequence[SandboxName]:
        """See `protocols.TaskStore`."""
        return [e.attempt.sandbox for e in self._entries.values() if e.state is not TaskState.FINISHED]

    def _get_leased(self, attempt: Attempt) -> Entry:
        entry = self._entries.get(attempt.id)
        assert entry is not None, f"attempt {attempt.id} was never submitted"
        if entry.attempt.retry != attempt.retry or entry.state is not TaskState.RUNNING:
            raise LeaseLostError(f"attempt {attempt.id} is over, or was taken over after retry {attempt.retry}")
        return entry

    def _held_by(self, entry: Entry) -> HeldBy | None:
        if entry.state is not TaskState.QUEUED:
            return None
        return running_of(self._entries.values()).held_by(
            entry.asked_by, entry.attempt.task.environment.name, self.limits
        )

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        task = entry.attempt.task.id
        entry.state, entry.outcome = TaskState.FINISHED, outcome
        self._append(
            task, AttemptFinished(verdict=outcome.verdict, reason=outcome.reason, hint=outcome.hint), entry.attempt.id
        )
        outcomes = [other.outcome for other in self._of_last_turn(task)]
        if None not in outcomes:
            verdict = best_verdict(o.verdict for o in outcomes if o)
            self._append(task, TaskFinished(verdict=verdict, turn=entry.attempt.turn))

    def _append_all(self, attempt: Attempt, events: Sequence[Event], phase: Phase | None) -> None:
        for event in events:
            self._append(attempt.task.id, event, attempt.id, phase)

    def _append(self, task: TaskId, event: Event, attempt: AttemptId | None = None, phase: Phase | None = None) -> None:
        log = self._log[task]
        now = datetime.now(UTC)
        log.append(RecordedEvent(seq=len(log) + 1, at=now, task=task, attempt=attempt, phase=phase, event=event))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _of(self, task: TaskId) -> Sequence[Entry]:
        return [entry for entry in self._entries.values() if entry.attempt.task.id == task]

    def _of_last_turn(self, task: TaskId) -> Sequence[Entry]:
        return [entry for entry in self._of(task) if entry.attempt.turn == len(self._later[task]) + 1]

    def _turns(self, task: TaskId) -> tuple[Turn, ...]:
        by_turn: dict[int, list[AttemptStatus]] = {}
        for e in self._of(task):
            status = AttemptStatus(
                attempt=e.attempt.id,
                number=e.attempt.number,
                state=e.state,
                outcome=e.outcome,
                queue_position=place_of(e, self._entries.values(), self._served),
                held_by=self._held_by(e),
            )
            by_turn.setdefault(e.attempt.turn, []).append(status)
        later = (
            Turn(
                number=turn.number,
                prompt=turn.prompt,
                accepted_at=turn.accepted_at,
                continues=turn.continues,
                seq=seq,
                files=turn.files,
                given=turn.given,
                attempts=tuple(by_turn[turn.number]),
            )
            for turn, seq in self._later[task]
        )
        return (first_turn(self._tasks[task], by_turn[1]), *later)

    def _resolve(self, prefix: str) -> TaskId:
        found = [task for task in self._tasks if prefix and task.startswith(prefix)]
        if prefix in found:
            return TaskId(prefix)
        if not found:
            raise NotFoundError(f"there is no task {prefix}")
        if len(found) > 1:
            raise UsageError(f"more than one task begins with {prefix}")
        return found[0]

    def _status(self, task: TaskId) -> TaskStatus:
        entries, turns = self._of_last_turn(task), self._turns(task)
        outcomes = [entry.outcome for entry in entries if entry.outcome]
        over = len(outcomes) == len(entries)
        waiting = all(entry.state is TaskState.QUEUED for entry in entries)
        return TaskStatus(
            task=self._tasks[task],
            state=TaskState.FINISHED if over else TaskState.QUEUED if waiting else TaskState.RUNNING,
            verdict=best_verdict(outcome.verdict for outcome in outcomes) if over else None,
            finished_at=self._log[task][-1].at if over else None,
            archived=task in self._archived,
            attempts=turns[-1].attempts,
            turns=turns,
        )

    async def _tell(self, about: str, call: str) -> None:
        await anyio.lowlevel.checkpoint()
        if self._on_call is not None:
            await self._on_call(about, call)


async def _cancel_when(happened: anyio.Event, scope: anyio.CancelScope) -> None:
    await happened.wait()
    scope.cancel()


def _conforms(queue: FakeQueue) -> tuple[AttemptQueue, TaskStore]:
    return queue, queue
