"""The table of attempts: who works on which, under what lease, and how each ended."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    bindparam,
    case,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from cloister.errors import ConflictError, LeaseLostError
from cloister.model.cancellation import Cancellation
from cloister.model.conversation import check_turn, continuation_of
from cloister.model.event import (
    AttemptFinished,
    PendingEvent,
    RecordedEvent,
    RecordMissed,
    TaskAccepted,
    TaskFinished,
    TurnAccepted,
)
from cloister.model.fairness import NO_LIMITS, Priority, RunningLimits
from cloister.model.record import SignedRecord
from cloister.model.request_key import RequestKey
from cloister.model.task import (
    Attempt,
    AttemptId,
    Continuation,
    FollowUp,
    Lease,
    Outcome,
    Task,
    TaskId,
    TaskState,
    Verdict,
    attempt_id,
    best_verdict,
)
from cloister.stores.database import Database
from cloister.stores.documents import document_to_task, outcome_to_document, pack, task_to_document, unpack
from cloister.stores.efforts import keep_effort
from cloister.stores.events import Entry, append_events, read_output_offset, read_told
from cloister.stores.lanes import choose_waiting, join_lane, note_start
from cloister.stores.notifications import queue_notices
from cloister.stores.records import add_record
from cloister.stores.request_keys import keep_request
from cloister.stores.schema import ATTEMPTS, TASKS, TURNS
from cloister.stores.turns import add_turn, read_turns

_WAITING = ""
"""Stands for a waiting attempt among the workers of running ones; no worker has this name."""
# Made once: on the way of every acceptance and start, making them takes as long as carrying them out.
_RUNS = ATTEMPTS.c.state == TaskState.RUNNING
_INSERT_TASK, _INSERT_ATTEMPTS = insert(TASKS), insert(ATTEMPTS)
_WORKERS_AND_WAITING = (
    select(ATTEMPTS.c.worker)
    .where(_RUNS)
    .union(select(literal(_WAITING)).where(exists().where(ATTEMPTS.c.state == TaskState.QUEUED)))
)
_CLAIM = (
    update(ATTEMPTS)
    .where(ATTEMPTS.c.position == bindparam("at"))
    .values(
        state=TaskState.RUNNING,
        worker=bindparam("by"),
        retry=case((_RUNS, ATTEMPTS.c.retry + 1), else_=ATTEMPTS.c.retry),
    )
    .returning(*ATTEMPTS.c)
)
_START = update(TASKS).where(TASKS.c.id == bindparam("of_task")).values(state=TaskState.RUNNING).returning(*TASKS.c)
_LEASED: Select[Any] = select(
    ATTEMPTS.c.cancel_requested, ATTEMPTS.c.cancel_grace_seconds, ATTEMPTS.c.cancel_collect
).where(ATTEMPTS.c.id == bindparam("of_attempt"), ATTEMPTS.c.retry == bindparam("of_retry"), _RUNS)


class SqlLedger:
    """What queues keep in the database: acceptance, claims, logs and ends of attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def version(self) -> int:
        """Differs when any other connection has committed since the last call."""
        return self._database.changes.version()

    async def accept(
        self,
        task: Task,
        notes: Sequence[str],
        key: RequestKey | None = None,
        *,
        committed: Callable[[], None] | None = None,
    ) -> None:
        """Keep a new task with its attempts, synced. ConflictError when there is one of that id."""
        row = {
            "id": task.id,
            "document": task_to_document(task),
            "patch": await pack(task.patch),
            "sealed_secrets": task.sealed_secrets,
            "state": TaskState.QUEUED,
            "accepted_at": task.accepted_at,
            "last_seq": 0,
            "archived": False,
            "environment": task.environment.name,
        }

        def keep(connection: Connection) -> None:
            try:
                connection.execute(_INSERT_TASK, row)
            except IntegrityError as error:
                raise ConflictError(f"there is a task {task.id} already") from error
            waiting = [_waiting(task, 1, n, task.asked_by) for n in range(1, task.attempts + 1)]
            connection.execute(_INSERT_ATTEMPTS, waiting)
            join_lane(connection, task.asked_by, task.priority, task.attempts)
            append_events(connection, task.id, [_acceptance(task, notes)])
            keep_request(connection, key, task.id, 1)

        await self._database.transact(keep, synced=True, committed=committed)

    async def accept_follow_up(
        self,
        task: TaskId,
        turn: FollowUp,
        notes: Sequence[str],
        key: RequestKey | None = None,
        *,
        committed: Callable[[], None] | None = None,
    ) -> None:
        """Keep one more turn of a task with its attempts, synced. ConflictError when it is not this one's turn."""
        number = select(func.max(ATTEMPTS.c.turn)).where(ATTEMPTS.c.task == task).scalar_subquery()
        query = select(TASKS.c.state, TASKS.c.document, number.label("last")).where(TASKS.c.id == task)

        def keep(connection: Connection) -> None:
            found = connection.execute(query).first()
            check_turn(task, turn, state=found and TaskState(found.state), last=found and found.last)
            assert found is not None, "check_turn has refused"
            asked = document_to_task(found.document, patch=b"", sealed_secrets=None)
            waiting = [_waiting(asked, turn.number, n, turn.asked_by) for n in range(1, turn.attempts + 1)]
            connection.execute(_INSERT_ATTEMPTS, waiting)
            join_lane(connection, turn.asked_by, asked.priority, turn.attempts)
            again = {"state": TaskState.QUEUED, "verdict": None, "finished_at": None, "archived": False}
            connection.execute(update(TASKS).where(TASKS.c.id == task).values(again))
            event = TurnAccepted(turn=turn.number, continues=turn.continues, attempts=turn.attempts, notes=tuple(notes))
            append_events(connection, task, [Entry(at=turn.accepted_at, attempt=None, phase=None, event=event)])
            add_turn(connection, task, turn)
            keep_request(connection, key, task, turn.number)

        await self._database.transact(keep, synced=True, committed=committed)

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
        """Take the oldest attempt (of `task`, when given) whose worker is dead, for `worker`.

        Else the one that waits and whose turn it is, unless only the `abandoned` shall be taken.
        """

        def look(connection: Connection) -> Collection[str] | None:
            """Return those workers of running attempts that are dead; None when there is nothing to take."""
            found = set(connection.scalars(_WORKERS_AND_WAITING))
            dead = [other for other in found - {_WAITING} if is_dead(other)]
            if not dead and (abandoned or _WAITING not in found):
                return None
            if not (dead or likely or limits == NO_LIMITS) and choose_waiting(connection, limits, task) is None:
                return None  # what waits is held back: nobody shall be kept from writing for that
            return dead

        def take(connection: Connection, dead: Collection[str] | None) -> Attempt | None:
            if dead is None:
                return None
            position = _oldest_abandoned(connection, dead, task) if dead else None
            if position is None and not abandoned:
                position = choose_waiting(connection, limits, task)
            return None if position is None else _take(connection, position, worker)

        if likely:
            return await self._database.transact(lambda connection: take(connection, look(connection)))
        dead = await self._database.query(look)
        return None if dead is None else await self._database.transact(partial(take, dead=dead))

    async def held(self) -> Mapping[str, Sequence[AttemptId]]:
        """The attempts that run, by worker."""
        running = select(ATTEMPTS.c.worker, ATTEMPTS.c.id).where(ATTEMPTS.c.state == TaskState.RUNNING)

        def read(connection: Connection) -> Mapping[str, Sequence[AttemptId]]:
            held: dict[str, list[AttemptId]] = defaultdict(list)
            for row in connection.execute(running.order_by(ATTEMPTS.c.position)):
                held[row.worker].append(AttemptId(row.id))
            return held

        return await self._database.query(read)

    async def holds(self, lease: Lease) -> bool:
        """Whether work shall go on: False when the end was asked for. LeaseLostError when the lease is void."""
        row = await self._database.query(partial(_leased, lease=lease))
        if row is None:
            raise lost(lease)
        return not row.cancel_requested

    async def cancellation(self, lease: Lease) -> Cancellation:
        """How the attempt shall be cancelled. LeaseLostError when the lease is void."""
        row = await self._database.query(partial(_leased, lease=lease))
        if row is None:
            raise lost(lease)
        return Cancellation(grace_seconds=row.cancel_grace_seconds or 0.0, collect=bool(row.cancel_collect))

    async def append(self, events: Sequence[PendingEvent]) -> Collection[Lease]:
        """Append to the logs, all at once. Events under a void lease are left out; returns those leases."""
        by_lease: dict[Lease, list[Entry]] = defaultdict(list)
        for event in events:
            entry = Entry(at=event.at, attempt=event.lease.attempt, phase=event.phase, event=event.event)
            by_lease[event.lease].append(entry)

        def write(connection: Connection) -> Collection[Lease]:
            void = set()
            for lease, entries in by_lease.items():
                if _leased(connection, lease) is None:
                    void.add(lease)
                else:
                    append_events(connection, lease.task, entries)
            return void

        return await self._database.transact(write)

    async def output_offset(self, attempt: AttemptId, command: str) -> int:
        """Where the recorded output of that command ends."""
        return await self._database.query(partial(read_output_offset, attempt=attempt, command=command))

    async def told(self, task: TaskId, attempt: AttemptId) -> Sequence[RecordedEvent]:
        """An attempt's log, without output."""
        return await self._database.query(partial(read_told, task=task, attempt=attempt))

    async def finish(self, lease: Lease, outcome: Outcome, record: SignedRecord | RecordMissed | None = None) -> None:
        """End the attempt, and with the last one its task, synced. LeaseLostError when the lease is void."""
        diff = await pack(outcome.change.diff if outcome.change else b"")
        envelopes = record.envelopes if isinstance(record, SignedRecord) else {}
        packed = {verdict: await pack(envelope) for verdict, envelope in envelopes.items()}

        def end(connection: Connection) -> None:
            row = _leased(connection, lease)
            if row is None:
                raise lost(lease)
            said = outcome.as_cancelled() if row.cancel_requested else outcome
            if envelope := packed.get(said.verdict):
                add_record(connection, lease.task, lease.attempt, envelope)
            if isinstance(record, RecordMissed):
                missed = Entry(at=_now(), attempt=lease.attempt, phase=None, event=record)
                append_events(connection, lease.task, [missed])
            end_attempt(connection, lease.task, lease.attempt, said, diff=diff)
            end_task_with_last_attempt(connection, lease.task)

        await self._database.transact(end, synced=True)


def end_attempt(
    connection: Connection,
    task: TaskId,
    attempt: AttemptId,
    outcome: Outcome,
    *,
    diff: bytes | None,
) -> None:
    """Write how an attempt ended, with its event. The lease is the caller's to check."""
    document = outcome_to_document(outcome)
    ended = {"state": TaskState.FINISHED, "verdict": outcome.verdict, "outcome": document, "diff": diff}
    connection.execute(update(ATTEMPTS).where(ATTEMPTS.c.id == attempt).values(ended))
    keep_effort(connection, task, attempt, outcome)
    event = AttemptFinished(verdict=outcome.verdict, reason=outcome.reason, hint=outcome.hint)
    append_events(connection, task, [Entry(at=_now(), attempt=attempt, phase=None, event=event)])


def end_task_with_last_attempt(connection: Connection, task: TaskId) -> None:
    """End the task when all attempts of its last turn are over, with the best of their verdicts."""
    last = select(func.max(ATTEMPTS.c.turn)).where(ATTEMPTS.c.task == task).scalar_subquery()
    query = select(ATTEMPTS.c.state, ATTEMPTS.c.verdict, ATTEMPTS.c.turn)
    attempts = connection.execute(query.where(ATTEMPTS.c.task == task, ATTEMPTS.c.turn == last)).all()
    if any(row.state != TaskState.FINISHED for row in attempts):
        return
    now, verdict = _now(), best_verdict(Verdict(row.verdict) for row in attempts)
    ended = {"state": TaskState.FINISHED, "verdict": verdict, "finished_at": now}
    connection.execute(update(TASKS).where(TASKS.c.id == task).values(ended))
    entry = Entry(at=now, attempt=None, phase=None, event=TaskFinished(verdict=verdict, turn=attempts[0].turn))
    append_events(connection, task, [entry])
    queue_notices(connection, task, attempts[0].turn, now)


def lost(lease: Lease) -> LeaseLostError:
    """The error of a write under a void lease."""
    return LeaseLostError(f"attempt {lease.attempt} is over, or was taken over after retry {lease.retry}")


def _waiting(task: Task, turn: int, number: int, asked_by: str) -> dict[str, object]:
    return {
        "id": attempt_id(task.id, turn, number),
        "task": task.id,
        "turn": turn,
        "number": number,
        "retry": 0,
        "state": TaskState.QUEUED,
        "cancel_requested": False,
        "asked_by": asked_by,
        "priority": task.priority,
        "environment": task.environment.name,
    }


def _acceptance(task: Task, notes: Sequence[str]) -> Entry:
    event = TaskAccepted(
        commit=task.revision.commit,
        ref=task.revision.ref,
        environment=task.environment.name,
        environment_version=task.environment_version,
        notes=tuple(notes),
        trace=task.trace_id,
    )
    return Entry(at=task.accepted_at, attempt=None, phase=None, event=event)


def _oldest_abandoned(connection: Connection, dead: Collection[str], task: TaskId | None) -> int | None:
    oldest = select(func.min(ATTEMPTS.c.position))
    if task is not None:
        oldest = oldest.where(ATTEMPTS.c.task == task)
    of_dead = oldest.where(ATTEMPTS.c.state == TaskState.RUNNING, ATTEMPTS.c.worker.in_(dead))
    position: int | None = connection.scalar(of_dead)
    return position


def _take(connection: Connection, position: int, worker: str) -> Attempt:
    row = connection.execute(_CLAIM, {"at": position, "by": worker}).one()
    if row.retry == 0:
        note_start(connection, row.asked_by, Priority(row.priority))
    found = connection.execute(_START, {"of_task": row.task}).one()
    task = document_to_task(found.document, patch=unpack(found.patch), sealed_secrets=found.sealed_secrets)
    return Attempt(
        id=AttemptId(row.id),
        task=task,
        turn=row.turn,
        number=row.number,
        retry=row.retry,
        continues=_continuation(connection, task, row.turn) if row.turn > 1 else None,
    )


def _continuation(connection: Connection, task: Task, number: int) -> Continuation:
    from_ = select(TURNS.c.continues).where(TURNS.c.task == task.id, TURNS.c.number == number)
    turns = read_turns(connection, task, diff_of=connection.scalar(from_))
    return continuation_of(turns, turns[number - 1])


def _leased(connection: Connection, lease: Lease) -> Row[Any] | None:
    return connection.execute(_LEASED, {"of_attempt": lease.attempt, "of_retry": lease.retry}).first()


def _now() -> datetime:
    return datetime.now(UTC)
