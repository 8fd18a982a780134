"""Tasks on the wire, and back: what is in a status, without what belongs to the host and without large bytes."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, TypeAdapter

from cloister.model.artifact import Artifact
from cloister.model.check import CheckResult
from cloister.model.environment import Environment
from cloister.model.environment_source import EnvironmentSource
from cloister.model.fairness import HeldBy, Priority
from cloister.model.flag import Flag
from cloister.model.given import GivenFile
from cloister.model.model_usage import UsageTotal
from cloister.model.phase import Phase
from cloister.model.review import Review, ReviewAsk
from cloister.model.sandbox import DiffStats
from cloister.model.task import Repository, Revision, Shell, Task, TaskPullRequest, TaskState, TaskStatus, Verdict
from cloister.model.trace import TraceParent


class _Shape(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True, use_attribute_docstrings=True, defer_build=True)


class ChangeShape(_Shape):
    """What an attempt changed. Its diff is at `/tasks/{id}/diff`."""

    base: str
    """Commit that the diff is against."""
    commit: str
    stats: DiffStats
    flags: tuple[Flag, ...]
    """What deserves a second look, the weightiest first."""
    paths: tuple[str, ...]


class OutcomeShape(_Shape):
    """How an attempt ended, and what it left."""

    verdict: Verdict
    reason: str
    """For every verdict but success: one sentence."""
    hint: str
    exit_status: int | None
    """Of the agent, when it ran."""
    message: str
    """The agent's answer."""
    change: ChangeShape | None
    """Null when no change could be collected."""
    review: Review | None = None
    """What the agent of a review found."""
    artifacts: tuple[Artifact, ...]
    """Files that the agent left; each is at `/tasks/{id}/artifact?name=NAME`."""
    checks: tuple[CheckResult, ...]
    usage: UsageTotal | None
    """What the agent's model used; null when it was not called."""
    seconds: Mapping[Phase, float]
    """Time spent per phase."""
    accepted_to_agent_seconds: float | None
    session: str | None
    """What the agent calls its conversation, to resume it by."""


class AttemptShape(_Shape):
    """Where an attempt is."""

    attempt: str
    """Its id."""
    number: int
    """From 1."""
    state: TaskState
    outcome: OutcomeShape | None
    """Once it is over."""
    queue_position: int | None
    """While it waits: about the how-manieth of all that wait it is to start, from 1."""
    held_by: HeldBy | None = None
    """While it waits: the limit that holds it back, wherever its place is; null when none does."""


class TurnShape(_Shape):
    """One prompt in a task, and where the attempts to answer it are."""

    number: int
    prompt: str
    accepted_at: datetime
    continues: str | None
    """The attempt of an earlier turn that it goes on from; null for the first."""
    seq: int
    """Place in the task's log of the event that it begins with."""
    files: tuple[GivenFile, ...] = ()
    """What came with its prompt."""
    given: str | None = None
    """What those are kept under."""
    attempts: tuple[AttemptShape, ...]


class TaskShape(_Shape):
    """Where a task is."""

    id: str
    repository: Repository
    revision: Revision
    environment: Environment
    environment_source: EnvironmentSource | None
    prompt: str
    agent: str
    command: str | None
    """The command line of the agent `command`."""
    ask: bool
    """An answer was wanted, and no change."""
    review: ReviewAsk | None = None
    """What is to be reviewed; then the task asks, too."""
    files: tuple[GivenFile, ...]
    """What came with the prompt."""
    shell: Shell | None
    use_cache: bool
    accepted_at: datetime
    trace_parent: TraceParent | None
    """The span of somebody else's that asked for it."""
    trace_id: str
    """Of the trace that it is in (W3C Trace Context)."""
    asked_by: str
    """Name of the caller."""
    priority: Priority
    state: TaskState
    verdict: Verdict | None
    """Once finished: the best of its attempts' verdicts."""
    finished_at: datetime | None
    archived: bool
    """Left out of lists, unless asked for."""
    queue_position: int | None
    """Of the first of its attempts to start, as long as all wait."""
    held_by: HeldBy | None = None
    """The limit that holds back all of its attempts, as long as all wait; null when none does."""
    attempts: tuple[AttemptShape, ...]
    """Of the last turn."""
    turns: tuple[TurnShape, ...]
    """All, oldest first."""
    pull_request: TaskPullRequest | None = None
    """As Cloister made it last; null when it made none."""


_STATUS = TypeAdapter(TaskStatus)


def status_to_shape(status: TaskStatus) -> TaskShape:
    """Return what callers see of a task."""
    task = status.task
    return TaskShape(
        id=task.id,
        repository=task.repository,
        revision=task.revision,
        environment=task.environment,
        environment_source=task.environment_source,
        prompt=task.prompt,
        agent=task.agent,
        command=task.command,
        ask=task.ask,
        review=task.review,
        files=task.files,
        shell=task.shell,
        use_cache=task.use_cache,
        accepted_at=task.accepted_at,
        trace_parent=task.trace_parent,
        trace_id=task.trace_id,
        asked_by=task.asked_by,
        priority=task.priority,
        state=status.state,
        verdict=status.verdict,
        finished_at=status.finished_at,
        archived=status.archived,
        queue_position=status.queue_position,
        held_by=status.held_by,
        attempts=tuple(AttemptShape.model_validate(attempt) for attempt in status.attempts),
        turns=tuple(TurnShape.model_validate(turn) for turn in status.turns),
        pull_request=status.pull_request,
    )


def shape_to_status(shape: TaskShape) -> TaskStatus:
    """Return the status that `status_to_shape` was given, as far as it was told."""
    of_status = {"state", "verdict", "finished_at", "archived", "attempts", "turns", "pull_request"}
    told = shape.model_dump(exclude={"trace_id", "queue_position", "held_by"})
    status = {name: told.pop(name) for name in of_status}
    return _STATUS.validate_python({"task": {**told, "attempts": len(shape.attempts)}, **status})


def shape_to_task(shape: TaskShape) -> Task:
    """Return the task alone."""
    return shape_to_status(shape).task
