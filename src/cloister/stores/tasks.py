"""The table of tasks: what users ask about them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import anyio
from sqlalchemy import JSON, ColumnElement, Connection, Row, and_, bindparam, or_, select, type_coerce, update

from cloister.errors import NotFoundError, UsageError
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.conversation import check_archivable
from cloister.model.event import RecordedEvent
from cloister.model.fairness import NO_LIMITS, Priority, RunningLimits
from cloister.model.phase import Phase
from cloister.model.request_key import KeptRequest
from cloister.model.sandbox import SandboxName
from cloister.model.statistics import Statistics
from cloister.model.task import (
    AttemptId,
    AttemptStatus,
    Outcome,
    TaskId,
    TaskState,
    TaskStatus,
    Verdict,
)
from cloister.model.task_filter import EVERY_TASK, TaskFilter
from cloister.protocols import StatisticsStore, TaskStore
from cloister.stores.attempts import end_attempt, end_task_with_last_attempt
from cloister.stores.database import Database
from cloister.stores.documents import document_to_task, unpack
from cloister.stores.events import read_events
from cloister.stores.feed import EVENTS_AT_ONCE, FIRST_PAGE, Begun, EventFeed, next_limit, within_bounds
from cloister.stores.lanes import join_lane, read_waiting
from cloister.stores.publications import read_pull_requests
from cloister.stores.records import read_record
from cloister.stores.request_keys import read_request
from cloister.stores.schema import ATTEMPTS, TASKS
from cloister.stores.searching import first_position, last_looked_at, read_phases
from cloister.stores.statistics import read_statistics
from cloister.stores.turns import LIGHT_ATTEMPT, attempt_status, attempts_of, read_turn_rows, to_turns

_LAST_CHARACTER = "\U0010ffff"
_OVER = TaskState.FINISHED
# A range, because LIKE folds case and cannot use the index.
_RESOLVE = (
    select(TASKS.c.id)
    .where(TASKS.c.id >= bindparam("prefix"), TASKS.c.id < bindparam("end"))
    .order_by((TASKS.c.id == bindparam("prefix")).desc())
    .limit(2)
)
_LIGHT_TASK = [column for column in TASKS.c if column.name not in {"patch", "sealed_secrets"}]


class SqlTaskStore:
    """`TaskStore` over the database."""

    def __init__(self, database: Database, limits: RunningLimits = NO_LIMITS) -> None:
        self._database = database
        self._limits = limits
        self._feed = EventFeed(database)

    async def get(self, task: str) -> TaskStatus:
        """The task and its attempts, with patch and diffs."""
        return await self._database.query(partial(_get, task=task, limits=self._limits))

    async def list(
        self, *, limit: int = 50, before: TaskId | None = None, only: TaskFilter = EVERY_TASK
    ) -> Sequence[TaskStatus]:
        """The newest tasks, newest first, without patches and diffs."""
        return await self._database.query(partial(_list, limit=limit, before=before, only=only, limits=self._limits))

    async def last_looked_at(self, *, within: int, before: TaskId | None = None) -> TaskId | None:
        """See `protocols.TaskStore`."""

        def look(connection: Connection) -> TaskId | None:
            below = None if before is None else _position_of(connection, before)
            return last_looked_at(connection, within=within, below=below)

        return await self._database.query(look)

    async def phases(self, tasks: Sequence[TaskId]) -> Mapping[TaskId, Phase]:
        """See `protocols.TaskStore`."""
        return await self._database.query(partial(read_phases, tasks=tasks))

    async def events(
        self,
        task: TaskId,
        *,
        after: int = 0,
        follow: bool = False,
        output: bool = True,
        until: anyio.Event | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the task's log, and with `follow` what is added to it until the task is over."""
        if follow:
            task, begun = await self._database.query(partial(_begin, task=task, after=after))
            async for event in self._feed.follow(task, begun, after=after, output=output, until=until):
                yield event
            return
        limit = EVENTS_AT_ONCE
        while True:
            read = partial(_read_page, task=task, after=after, output=output, limit=limit)
            task, page = await self._database.query(read)
            kept = within_bounds(page)
            for event in kept:
                yield event
                after = event.seq
            if len(page) < limit and (not page or after == page[-1].seq):
                return
            limit = next_limit(page, kept, limit)

    async def find_request(self, digest: str, now: datetime) -> KeptRequest | None:
        """What a caller's key stands for."""
        return await self._database.query(partial(read_request, digest=digest, now=now))

    async def last_seq(self, task: TaskId) -> int:
        """See `protocols.TaskStore`."""
        row = await self._database.first(select(TASKS.c.last_seq).where(TASKS.c.id == task))
        if row is None:
            raise NotFoundError(f"there is no task {task!r}")
        last: int = row.last_seq
        return last

    async def statistics(self, since: datetime, until: datetime, *, parts: int) -> Statistics:
        """Numbers of that time."""
        return await self._database.query(partial(read_statistics, since=since, until=until, parts=parts))

    async def find_record(self, attempt: AttemptId) -> bytes | None:
        """The signed record of an attempt."""
        return await self._database.query(partial(read_record, attempt=attempt))

    async def cancel(
        self, task: TaskId, attempt: AttemptId | None = None, cancellation: Cancellation = AT_ONCE
    ) -> None:
        """Ask for the end of every attempt that is not over, or of that one; those that wait end here."""
        asked = {
            "cancel_requested": True,
            "cancel_grace_seconds": cancellation.grace_seconds,
            "cancel_collect": cancellation.collect,
        }

        def cancel(connection: Connection) -> None:
            found = _resolve(connection, task)
            meant = and_(ATTEMPTS.c.task == found, *([ATTEMPTS.c.id == attempt] if attempt else []))
            running = and_(meant, ATTEMPTS.c.state == TaskState.RUNNING)
            connection.execute(update(ATTEMPTS).where(running).values(asked))
            waiting = and_(meant, ATTEMPTS.c.state == TaskState.QUEUED)
            columns = (ATTEMPTS.c.id, ATTEMPTS.c.asked_by, ATTEMPTS.c.priority)
            rows = connection.execute(select(*columns).where(waiting).order_by(ATTEMPTS.c.number)).all()
            for row in rows:
                _end_unstarted(connection, found, AttemptId(row.id))
                join_lane(connection, row.asked_by, Priority(row.priority), -1)
            if rows:
                end_task_with_last_attempt(connection, found)

        await self._database.transact(cancel, synced=True)

    async def set_archived(self, task: TaskId, archived: bool) -> None:
        """Put a task that is over out of sight, or back."""

        def change(connection: Connection) -> None:
            found = _resolve(connection, task)
            state = TaskState(connection.execute(select(TASKS.c.state).where(TASKS.c.id == found)).scalar_one())
            check_archivable(found, state, archived)
            connection.execute(update(TASKS).where(TASKS.c.id == found).values(archived=archived))

        await self._database.transact(change, synced=True)

    async def live_sandboxes(self) -> Sequence[SandboxName]:
        """Sandboxes of attempts that are not over."""
        rows = await self._database.all(select(ATTEMPTS.c.id).where(ATTEMPTS.c.state != _OVER))
        return [SandboxName(row.id) for row in rows]


def _get(connection: Connection, task: str, limits: RunningLimits) -> TaskStatus:
    found = _resolve(connection, task)
    row = connection.execute(select(TASKS).where(TASKS.c.id == found)).one()
    attempts = connection.execute(attempts_of([found], ATTEMPTS.c)).all()
    turns = read_turn_rows(connection, [found])
    waiting = read_waiting(connection, attempts, limits)
    statuses = [(it.turn, attempt_status(it, diff=unpack(it.diff), waits=waiting.get(it.id))) for it in attempts]
    pull = read_pull_requests(connection, [found]).get(found)
    status = _task_status(row, statuses, turns, patch=unpack(row.patch), sealed_secrets=row.sealed_secrets)
    return replace(status, pull_request=pull)


def _list(
    connection: Connection, *, limit: int, before: TaskId | None, only: TaskFilter, limits: RunningLimits
) -> Sequence[TaskStatus]:
    query = select(*_LIGHT_TASK).where(*_like(only)).order_by(TASKS.c.position.desc()).limit(limit)
    below = None if before is None else _position_of(connection, before)
    if below is not None:
        query = query.where(TASKS.c.position < below)
    if only.within is not None:
        query = query.where(TASKS.c.position >= first_position(connection, within=only.within, below=below))
    rows = connection.execute(query).all()
    ids = [row.id for row in rows]
    attempts = connection.execute(attempts_of(ids, LIGHT_ATTEMPT)).all()
    waiting = read_waiting(connection, attempts, limits)
    by_task: dict[str, list[tuple[int, AttemptStatus]]] = {row.id: [] for row in rows}
    for attempt in attempts:
        by_task[attempt.task].append((attempt.turn, attempt_status(attempt, diff=b"", waits=waiting.get(attempt.id))))
    later: dict[str, list[Row[Any]]] = {row.id: [] for row in rows}
    for turn in read_turn_rows(connection, ids):
        later[turn.task].append(turn)
    pulls = read_pull_requests(connection, ids)
    found = [_task_status(row, by_task[row.id], later[row.id], patch=b"", sealed_secrets=None) for row in rows]
    return [replace(status, pull_request=pulls.get(status.task.id)) for status in found]


def _begin(connection: Connection, task: TaskId, *, after: int) -> tuple[TaskId, Begun]:
    found = _resolve(connection, task)
    last = connection.execute(select(TASKS.c.last_seq).where(TASKS.c.id == found)).scalar_one()
    return found, Begun(read_events(connection, found, after=after, limit=FIRST_PAGE), last)


def _read_page(
    connection: Connection, task: TaskId, *, after: int, output: bool, limit: int
) -> tuple[TaskId, Sequence[RecordedEvent]]:
    found = _resolve(connection, task)
    return found, read_events(connection, found, after=after, limit=limit, output=output)


def _end_unstarted(connection: Connection, task: TaskId, attempt: AttemptId) -> None:
    outcome = Outcome(verdict=Verdict.CANCELLED, reason="cancelled before a worker took it")
    end_attempt(connection, task, attempt, outcome, diff=None)


def _like(only: TaskFilter) -> list[ColumnElement[bool]]:
    """Return the conditions of a filter; see `TaskFilter.matches`."""
    conditions: list[ColumnElement[bool]] = []
    if only.archived is not None:
        conditions.append(TASKS.c.archived == only.archived)
    if only.environment is not None:
        conditions.append(TASKS.c.environment == only.environment)
    if isinstance(only.state, TaskState):
        conditions.append(TASKS.c.state == only.state)
    elif only.state is not None:
        conditions += [TASKS.c.state == _OVER, TASKS.c.verdict == only.state]
    if only.text:
        document = type_coerce(TASKS.c.document, JSON)
        fields = (document["prompt"].as_string(), document["repository"]["address"].as_string())
        found = [field.icontains(only.text, autoescape=True) for field in fields]
        conditions.append(or_(*found, TASKS.c.id.startswith(only.text.lower(), autoescape=True)))
    return conditions


def _position_of(connection: Connection, task: TaskId) -> int:
    position: int | None = connection.scalar(select(TASKS.c.position).where(TASKS.c.id == task))
    if position is None:
        raise NotFoundError(f"there is no task {task!r}")
    return position


def _resolve(connection: Connection, prefix: str) -> TaskId:
    ids = connection.scalars(_RESOLVE, {"prefix": prefix, "end": prefix + _LAST_CHARACTER}).all()
    if not prefix or not ids:
        raise NotFoundError(f"there is no task {prefix!r}", hint="`cloister task list` shows those there are")
    if ids[0] != prefix and len(ids) > 1:
        raise UsageError(f"more than one task begins with {prefix!r}", hint="give more of its id")
    return TaskId(ids[0])


def _task_status(
    row: Row[Any],
    attempts: Sequence[tuple[int, AttemptStatus]],
    later: Sequence[Row[Any]],
    *,
    patch: bytes,
    sealed_secrets: bytes | None,
) -> TaskStatus:
    task = document_to_task(row.document, patch=patch, sealed_secrets=sealed_secrets)
    turns = to_turns(task, attempts, later)
    return TaskStatus(
        task=task,
        state=TaskState(row.state),
        verdict=None if row.verdict is None else Verdict(row.verdict),
        finished_at=row.finished_at,
        archived=row.archived,
        attempts=turns[-1].attempts,
        turns=turns,
    )


_: type[TaskStore] = SqlTaskStore
_statistics: type[StatisticsStore] = SqlTaskStore
