"""Tasks at set times: kept, and given when they are due, each time once however many servers look."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

import anyio
import structlog

from cloister.automation.cron import latest_between, next_after, zone_of
from cloister.errors import CloisterError, NotFoundError, UnderWayError, UsageError
from cloister.intake import Intake
from cloister.model.missed import Missed
from cloister.model.request import Request
from cloister.model.request_key import make_request_key
from cloister.model.schedule import Schedule, ScheduledRequest, ScheduledRun
from cloister.protocols import ScheduleStore

MISSED_AFTER = timedelta(minutes=2)
"""How late a task may come and not be a missed one: a busy server looks late."""
LONGEST_SLEEP_SECONDS = 15.0
"""How soon a schedule that another process made is known, and how late after the clock was moved."""
MOST_SCHEDULES = 1000

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedules:
    """The part of the front door that keeps schedules."""

    store: ScheduleStore
    intake: Intake
    now: Callable[[], datetime]
    """Aware, UTC."""

    async def create(
        self, name: str, cron: str, request: Request, *, timezone: str, missed: Missed, created_by: str
    ) -> Schedule:
        """Keep a schedule, whose first task comes when it is next due.

        UsageError, also for what cannot be a task; ConflictError when the name is in use.
        """
        if not _NAME.fullmatch(name):
            raise UsageError("a schedule's name has 1 to 100 letters, digits and `. _ -`, and begins with one of both")
        now = self.now()
        next_at = next_after(cron, zone_of(timezone), now)
        kept = to_scheduled(request)
        await self.intake.check(to_request(kept))
        if len(await self.store.list()) >= MOST_SCHEDULES:
            raise UsageError(f"there are {MOST_SCHEDULES} schedules already")
        schedule = Schedule(
            name=name,
            cron=" ".join(cron.split()),
            timezone=timezone,
            missed=missed,
            request=kept,
            created_at=now,
            created_by=created_by,
            next_at=next_at,
        )
        await self.store.add(schedule)
        return schedule

    async def list(self) -> Sequence[Schedule]:
        """All, by name."""
        return await self.store.list()

    async def get(self, name: str) -> Schedule:
        """One of them. NotFoundError."""
        found = next((schedule for schedule in await self.store.list() if schedule.name == name), None)
        if found is None:
            raise NotFoundError(f"there is no schedule {name!r}", hint="see: cloister schedule list")
        return found

    async def remove(self, name: str) -> Schedule:
        """Forget one, and its history; its tasks stay. NotFoundError."""
        schedule = await self.get(name)
        await self.store.remove(name)
        return schedule

    async def pause(self, name: str, *, paused: bool) -> Schedule:
        """Let no task come until it is resumed, or let them come from now on. Harmless twice. NotFoundError.

        What was due while it was paused was not missed.
        """
        schedule = await self.get(name)
        if paused is (schedule.next_at is None):
            return schedule
        next_at = None if paused else next_after(schedule.cron, zone_of(schedule.timezone), self.now())
        await self.store.set_next(name, next_at)
        return replace(schedule, next_at=next_at)

    async def runs(self, name: str) -> Sequence[ScheduledRun]:
        """Times that were due, newest first. NotFoundError."""
        await self.get(name)
        return await self.store.runs(name)

    async def run(self) -> None:
        """Give tasks when they are due, until cancelled. Nothing that fails ends it."""
        while True:
            try:
                await self.give_due()
                sleep = await self._seconds_to_next()
            except CloisterError as error:
                _log.error("schedules could not be looked at", error=str(error))
                sleep = LONGEST_SLEEP_SECONDS
            await anyio.sleep(sleep)

    async def give_due(self) -> None:
        """Give the tasks that are due now, and those that a server was about to give when it ended."""
        now = self.now()
        for schedule in await self.store.list():
            if schedule.next_at is not None and schedule.next_at <= now:
                await self._begin(schedule, schedule.next_at, now)
        for run in await self.store.unfinished():
            await self._give(run)

    async def _begin(self, schedule: Schedule, due_at: datetime, now: datetime) -> None:
        """Let the time be over, for all servers, and note that it was due."""
        zone = zone_of(schedule.timezone)
        latest, passed = latest_between(schedule.cron, zone, due_at, now)
        next_at = next_after(schedule.cron, zone, max(latest, now))
        run = ScheduledRun(schedule=schedule.name, due_at=latest, started_at=now, missed=passed)
        if schedule.missed is Missed.SKIP and now - latest > MISSED_AFTER:
            run = replace(run, reason="missed: no server ran then")
        await self.store.begin(run, due_at=due_at, next_at=next_at)

    async def _give(self, run: ScheduledRun) -> None:
        """Make the task. Its key lets it be made once, whoever else is at it, and whenever we were killed."""
        schedule = next((it for it in await self.store.list() if it.name == run.schedule), None)
        if schedule is None:
            return
        text = f"{schedule.name}/{schedule.created_at.isoformat()}/{run.due_at.isoformat()}"
        key = make_request_key("schedule", text, b"", run.started_at)
        try:
            kept = await self.intake.store.find_request(key.digest, run.started_at)
            if kept is not None:
                await self.store.finish(replace(run, task=kept.task))
                return
            task = await self.intake.submit(to_request(schedule.request), key, asked_by=schedule.created_by)
            await self.store.finish(replace(run, task=task.id))
        except UnderWayError:
            return  # another server gives it, and notes that
        except CloisterError as error:
            _log.warning("a scheduled task was refused", schedule=schedule.name, error=str(error))
            await self.store.finish(replace(run, reason=str(error)))

    async def _seconds_to_next(self) -> float:
        times = [schedule.next_at for schedule in await self.store.list() if schedule.next_at is not None]
        if not times:
            return LONGEST_SLEEP_SECONDS
        return min(max((min(times) - self.now()).total_seconds(), 0.0), LONGEST_SLEEP_SECONDS)


def to_scheduled(request: Request) -> ScheduledRequest:
    """Return what is kept of a request. UsageError for what belongs to one task alone."""
    if request.secrets:
        raise UsageError(
            "a schedule keeps no secrets' values",
            hint="put them in the vault of its environment: cloister secret set ENV NAME",
        )
    for name in ("shell", "patch", "files"):
        if getattr(request, name):
            raise UsageError(f"a scheduled task has no {name}")
    return ScheduledRequest(**{field.name: getattr(request, field.name) for field in fields(ScheduledRequest)})


def to_request(scheduled: ScheduledRequest) -> Request:
    """Return the request for one task."""
    return Request(**{field.name: getattr(scheduled, field.name) for field in fields(scheduled)})
