"""Tasks at set times."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cloister.model.fairness import Priority
from cloister.model.missed import Missed
from cloister.model.network import NetworkMode
from cloister.model.request import EnvironmentName, EnvironmentText
from cloister.model.task import TaskId

MOST_RUNS_KEPT = 100
"""Of each schedule: older ones are forgotten, though not their tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRequest:
    """What is asked each time. No value of a secret is in it: those that the environment names are in its vault."""

    repository: str
    prompt: str
    ref: str | None = None
    environment: EnvironmentName | EnvironmentText | None = None
    agent: str | None = None
    model: str | None = None
    command: str | None = None
    attempts: int = 1
    variables: Mapping[str, str] = field(default_factory=dict)
    internet: NetworkMode | None = None
    allow: tuple[str, ...] = ()
    use_cache: bool = True
    ask: bool = False
    priority: Priority = Priority.NORMAL
    guarded: bool = True
    """Whether a caller from elsewhere named the repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A task by cron expression."""

    name: str
    cron: str
    """Five fields: minute, hour, day of month, month, day of week."""
    timezone: str
    """IANA's name of the zone in which the expression is read."""
    missed: Missed
    request: ScheduledRequest
    created_at: datetime
    created_by: str
    """Whose tasks its tasks are."""
    next_at: datetime | None
    """When the next task is due; None while it is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledRun:
    """One time that was due."""

    schedule: str
    due_at: datetime
    started_at: datetime
    missed: int = 0
    """How many times had passed by then, beside this one, while no server ran."""
    task: TaskId | None = None
    """None when there is none (yet)."""
    reason: str = ""
    """Why there is no task; empty while it is being made."""
