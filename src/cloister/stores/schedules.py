"""The tables of schedules, and of the times at which they were due."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError
from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from cloister.errors import ConflictError, StoreError, UsageError
from cloister.model.missed import Missed
from cloister.model.schedule import MOST_RUNS_KEPT, Schedule, ScheduledRequest, ScheduledRun
from cloister.model.task import TaskId
from cloister.protocols import ScheduleStore
from cloister.stores.database import Database
from cloister.stores.schema import SCHEDULED_RUNS, SCHEDULES

_REQUEST = TypeAdapter(ScheduledRequest)
_RUNS, _ALL = SCHEDULED_RUNS.c, SCHEDULES.c


class SqlScheduleStore:
    """`ScheduleStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, schedule: Schedule) -> None:
        """Keep, synced. ConflictError when the name is in use."""
        row = {
            "name": schedule.name,
            "cron": schedule.cron,
            "timezone": schedule.timezone,
            "missed": schedule.missed,
            "request": _request_to_document(schedule),
            "created_at": schedule.created_at,
            "created_by": schedule.created_by,
            "next_at": schedule.next_at,
        }

        def keep(connection: Connection) -> None:
            try:
                connection.execute(insert(SCHEDULES), row)
            except IntegrityError as error:
                raise ConflictError(f"there is a schedule {schedule.name!r} already") from error

        await self._database.transact(keep, synced=True)

    async def list(self) -> Sequence[Schedule]:
        """All, by name."""
        return [_row_to_schedule(row) for row in await self._database.all(select(SCHEDULES).order_by(_ALL.name))]

    async def remove(self, name: str) -> None:
        """Forget it with its runs, synced."""
        runs = delete(SCHEDULED_RUNS).where(_RUNS.schedule == name)
        await self._database.execute(runs, delete(SCHEDULES).where(_ALL.name == name), synced=True)

    async def set_next(self, name: str, next_at: datetime | None) -> None:
        """Synced."""
        await self._database.execute(update(SCHEDULES).where(_ALL.name == name).values(next_at=next_at), synced=True)

    async def begin(self, run: ScheduledRun, *, due_at: datetime, next_at: datetime) -> bool:
        """Move the schedule on from `due_at`, and note the run, synced. False when somebody else did."""
        moved = update(SCHEDULES).where(_ALL.name == run.schedule, _ALL.next_at == due_at).values(next_at=next_at)

        def begin(connection: Connection) -> bool:
            if connection.execute(moved).rowcount != 1:
                return False
            connection.execute(insert(SCHEDULED_RUNS).prefix_with("OR IGNORE"), _run_to_row(run))
            _forget_old(connection, run.schedule)
            return True

        return await self._database.transact(begin, synced=True)

    async def finish(self, run: ScheduledRun) -> None:
        """Note what came of it. One that is over stays as it is."""
        this = (_RUNS.schedule == run.schedule, _RUNS.due_at == run.due_at, _RUNS.task.is_(None))
        await self._database.execute(
            update(SCHEDULED_RUNS).where(*this).values(task=run.task, reason=run.reason), synced=True
        )

    async def unfinished(self) -> Sequence[ScheduledRun]:
        """Those of which nothing came yet, oldest first."""
        query = select(SCHEDULED_RUNS).where(_RUNS.task.is_(None), _RUNS.reason == "").order_by(_RUNS.due_at)
        return [_row_to_run(row) for row in await self._database.all(query)]

    async def runs(self, name: str) -> Sequence[ScheduledRun]:
        """Newest first."""
        query = select(SCHEDULED_RUNS).where(_RUNS.schedule == name).order_by(_RUNS.due_at.desc())
        return [_row_to_run(row) for row in await self._database.all(query)]


def _request_to_document(schedule: Schedule) -> str:
    try:
        return _REQUEST.dump_json(schedule.request).decode()
    except (PydanticSerializationError, UnicodeError) as error:
        raise UsageError(f"the request of schedule {schedule.name!r} holds text that is not valid Unicode") from error


def _forget_old(connection: Connection, schedule: str) -> None:
    kept = select(_RUNS.due_at).where(_RUNS.schedule == schedule).order_by(_RUNS.due_at.desc()).limit(MOST_RUNS_KEPT)
    old = delete(SCHEDULED_RUNS).where(_RUNS.schedule == schedule, _RUNS.due_at.not_in(kept))
    connection.execute(old)


def _run_to_row(run: ScheduledRun) -> dict[str, object]:
    return {
        "schedule": run.schedule,
        "due_at": run.due_at,
        "started_at": run.started_at,
        "missed": run.missed,
        "task": run.task,
        "reason": run.reason,
    }


def _row_to_run(row: Row[Any]) -> ScheduledRun:
    return ScheduledRun(
        schedule=row.schedule,
        due_at=row.due_at,
        started_at=row.started_at,
        missed=row.missed,
        task=None if row.task is None else TaskId(row.task),
        reason=row.reason,
    )


def _row_to_schedule(row: Row[Any]) -> Schedule:
    try:
        request = _REQUEST.validate_json(row.request)
    except ValidationError as error:
        raise StoreError(f"the schedule {row.name!r} in the database cannot be read: {error}") from error
    return Schedule(
        name=row.name,
        cron=row.cron,
        timezone=row.timezone,
        missed=Missed(row.missed),
        request=request,
        created_at=row.created_at,
        created_by=row.created_by,
        next_at=row.next_at,
    )


_: type[ScheduleStore] = SqlScheduleStore
