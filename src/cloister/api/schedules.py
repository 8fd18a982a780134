"""Schedules: tasks at set times."""

from dataclasses import replace

from fastapi import APIRouter, status
from pydantic import Field

from cloister.api.body import Body
from cloister.api.caller import Member, Viewer
from cloister.api.front import KnownAutomation, check_priority, check_repository
from cloister.api.schedule_shape import ScheduleShape, schedule_to_shape
from cloister.api.task_request import TaskBody, body_to_request
from cloister.model.missed import Missed
from cloister.model.schedule import ScheduledRun

router = APIRouter(prefix="/schedules", tags=["schedules"])


class NewScheduleBody(Body):
    """A schedule that is wanted."""

    name: str = Field(examples=["nightly"])
    cron: str = Field(examples=["30 6 * * MON-FRI"])
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: str = Field(default="UTC", examples=["Europe/Berlin"])
    """IANA's name of the zone in which they are read."""
    missed: Missed = Missed.ONCE
    """What becomes of times at which no server ran."""
    task: TaskBody
    """What is asked each time, without secrets' values, files, patch and shell."""


class PauseBody(Body):
    """Whether tasks come."""

    paused: bool


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: NewScheduleBody, automation: KnownAutomation, caller: Member) -> ScheduleShape:
    """Keep a schedule. Its tasks are the caller's."""
    check_repository(body.task.repository, caller)
    check_priority(body.task.priority, caller)
    schedule = await automation.schedules.create(
        body.name,
        body.cron,
        replace(body_to_request(body.task), guarded=not caller.on_this_machine),
        timezone=body.timezone,
        missed=body.missed,
        created_by=caller.name,
    )
    return schedule_to_shape(schedule)


@router.get("")
async def find(automation: KnownAutomation, _: Viewer) -> list[ScheduleShape]:
    """Return all schedules, by name."""
    return [schedule_to_shape(schedule) for schedule in await automation.schedules.list()]


@router.get("/{name}")
async def get(name: str, automation: KnownAutomation, _: Viewer) -> ScheduleShape:
    """Return a schedule."""
    return schedule_to_shape(await automation.schedules.get(name))


@router.patch("/{name}")
async def pause(name: str, body: PauseBody, automation: KnownAutomation, _: Member) -> ScheduleShape:
    """Let no task of a schedule come, or let them come from now on. Harmless twice."""
    return schedule_to_shape(await automation.schedules.pause(name, paused=body.paused))


@router.delete("/{name}")
async def remove(name: str, automation: KnownAutomation, _: Member) -> ScheduleShape:
    """Forget a schedule and its history. Its tasks stay."""
    return schedule_to_shape(await automation.schedules.remove(name))


@router.get("/{name}/runs")
async def runs(name: str, automation: KnownAutomation, _: Viewer) -> list[ScheduledRun]:
    """Return the times at which a schedule was due, newest first, and the task of each or why there is none."""
    return list(await automation.schedules.runs(name))
