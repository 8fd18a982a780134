"""Schedules on the wire."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from cloister.model.missed import Missed
from cloister.model.schedule import Schedule


class ScheduleShape(BaseModel):
    """A schedule."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    cron: str
    timezone: str
    missed: Missed
    repository: str
    ref: str | None
    prompt: str
    agent: str | None
    command: str | None
    created_at: datetime
    created_by: str
    next_at: datetime | None
    """When the next task is due; null while it is paused."""


def schedule_to_shape(schedule: Schedule) -> ScheduleShape:
    """Return what callers see of it."""
    asked = schedule.request
    return ScheduleShape(
        name=schedule.name,
        cron=schedule.cron,
        timezone=schedule.timezone,
        missed=schedule.missed,
        repository=asked.repository,
        ref=asked.ref,
        prompt=asked.prompt,
        agent=asked.agent,
        command=asked.command,
        created_at=schedule.created_at,
        created_by=schedule.created_by,
        next_at=schedule.next_at,
    )
