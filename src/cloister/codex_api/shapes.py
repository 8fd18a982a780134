"""What the client reads of tasks and turns."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from cloister.model.task import AttemptStatus, TaskState, TaskStatus, Turn, Verdict

TurnStatus = Literal["pending", "in_progress", "completed", "failed", "cancelled"]

_LONGEST_TITLE = 100


class DiffStats(BaseModel):
    """How much an attempt changed."""

    files_modified: int = 0
    lines_added: int = 0
    lines_removed: int = 0


class TurnDisplay(BaseModel):
    """Where the newest turn is."""

    turn_status: TurnStatus
    diff_stats: DiffStats
    sibling_turn_ids: list[str]


class StatusDisplay(BaseModel):
    """Where a task is."""

    environment_label: str
    latest_turn_status_display: TurnDisplay


class PullRequest(BaseModel):
    """Where a task's change was proposed, as Cloister left it."""

    number: int
    url: str
    state: str = "open"
    merged: bool = False
    mergeable: bool = True
    title: str
    base: str
    head: str


class ExternalPullRequest(BaseModel):
    """The same, with whose it is."""

    id: str
    assistant_turn_id: str
    pull_request: PullRequest


class TaskItem(BaseModel):
    """A task in the list."""

    id: str
    title: str
    created_at: float
    updated_at: float
    archived: bool = False
    has_unread_turn: bool = False
    pull_requests: list[ExternalPullRequest] = []
    task_status_display: StatusDisplay


class TaskPage(BaseModel):
    """A page of the list."""

    items: list[TaskItem]
    cursor: str | None


class TaskHead(BaseModel):
    """What is known of a task."""

    id: str
    title: str
    created_at: float
    updated_at: float
    archived: bool = False
    environment_id: str
    is_review: bool = False
    external_pull_requests: list[ExternalPullRequest] = []


class Content(BaseModel):
    """A piece of text."""

    content_type: Literal["text"] = "text"
    text: str


class Message(BaseModel):
    """Something that was said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant"]
    content: list[Content]


class OutputDiff(BaseModel):
    """What was changed."""

    type: Literal["output_diff"] = "output_diff"
    diff: str


class TurnError(BaseModel):
    """Why a turn did not succeed."""

    code: str
    message: str


class UserTurn(BaseModel):
    """What was asked."""

    id: str
    input_items: list[Message]


class AssistantTurn(BaseModel):
    """An attempt."""

    id: str
    attempt_placement: int
    """From 0."""
    created_at: float
    turn_status: TurnStatus
    sibling_turn_ids: list[str]
    output_items: list[Message | OutputDiff]
    error: TurnError | None = None


class DiffTurn(BaseModel):
    """What the chosen attempt changed."""

    output_items: list[OutputDiff]


class TaskDetails(BaseModel):
    """A task with its newest turn."""

    task: TaskHead
    task_status_display: StatusDisplay
    current_user_turn: UserTurn
    current_assistant_turn: AssistantTurn
    current_diff_task_turn: DiffTurn | None


class SiblingTurns(BaseModel):
    """The other attempts of a turn."""

    sibling_turns: list[AssistantTurn]


_OF_VERDICT: dict[Verdict, TurnStatus] = {
    Verdict.SUCCEEDED: "completed",
    Verdict.FAILED: "failed",
    Verdict.ERRORED: "failed",
    Verdict.CANCELLED: "cancelled",
}
_OF_STATE: dict[TaskState, TurnStatus] = {TaskState.QUEUED: "pending", TaskState.RUNNING: "in_progress"}


def status_to_item(status: TaskStatus, chosen: AttemptStatus) -> TaskItem:
    """Return a task as the list shows it; `chosen` is the attempt to show first."""
    return TaskItem(
        id=status.task.id,
        title=_title(status),
        created_at=status.task.accepted_at.timestamp(),
        updated_at=_updated_at(status).timestamp(),
        pull_requests=_pull_requests(status, chosen),
        task_status_display=_display(status, chosen),
    )


def status_to_details(status: TaskStatus, chosen: AttemptStatus) -> TaskDetails:
    """Return a task as the client asks for it; diffs have to be in the status."""
    turn = status.last_turn
    diff = _diff(chosen)
    head = TaskHead(
        id=status.task.id,
        title=_title(status),
        created_at=status.task.accepted_at.timestamp(),
        updated_at=_updated_at(status).timestamp(),
        environment_id=status.task.environment.name,
        is_review=status.task.review is not None,
        external_pull_requests=_pull_requests(status, chosen),
    )
    asked = Message(role="user", content=[Content(text=turn.prompt)])
    return TaskDetails(
        task=head,
        task_status_display=_display(status, chosen),
        current_user_turn=UserTurn(id=f"{status.task.id}-{turn.number}", input_items=[asked]),
        current_assistant_turn=attempt_to_turn(turn, chosen),
        current_diff_task_turn=DiffTurn(output_items=[diff]) if diff else None,
    )


def attempt_to_turn(turn: Turn, attempt: AttemptStatus) -> AssistantTurn:
    """Return an attempt, which the client calls a turn too; its diff has to be in it."""
    outcome = attempt.outcome
    diff = _diff(attempt)
    said = [Message(role="assistant", content=[Content(text=outcome.message)])] if outcome and outcome.message else []
    reason = outcome.reason if outcome is not None else ""
    return AssistantTurn(
        id=attempt.attempt,
        attempt_placement=attempt.number - 1,
        created_at=turn.accepted_at.timestamp(),
        turn_status=_status_of(attempt),
        sibling_turn_ids=_siblings(turn.attempts, attempt),
        output_items=[*said, *([diff] if diff else [])],
        error=TurnError(code=str(outcome.verdict), message=reason) if outcome is not None and reason else None,
    )


def _pull_requests(status: TaskStatus, chosen: AttemptStatus) -> list[ExternalPullRequest]:
    pull = status.pull_request
    if pull is None:
        return []
    said = PullRequest(number=pull.number, url=pull.address, title=pull.title, base=pull.base, head=pull.branch)
    return [
        ExternalPullRequest(
            id=f"{status.task.id}-pr-{pull.number}", assistant_turn_id=chosen.attempt, pull_request=said
        )
    ]


def _display(status: TaskStatus, chosen: AttemptStatus) -> StatusDisplay:
    change = chosen.outcome.change if chosen.outcome is not None else None
    stats = change.stats if change is not None else None
    told = (
        DiffStats(files_modified=stats.files, lines_added=stats.added, lines_removed=stats.removed) if stats else None
    )
    turn_status = _OF_VERDICT[status.verdict] if status.verdict is not None else _OF_STATE[status.state]
    return StatusDisplay(
        environment_label=status.task.environment.name,
        latest_turn_status_display=TurnDisplay(
            turn_status=turn_status,
            diff_stats=told or DiffStats(),
            sibling_turn_ids=_siblings(status.last_turn.attempts, chosen),
        ),
    )


def _siblings(attempts: Sequence[AttemptStatus], chosen: AttemptStatus) -> list[str]:
    return [other.attempt for other in attempts if other.attempt != chosen.attempt]


def _status_of(attempt: AttemptStatus) -> TurnStatus:
    return _OF_VERDICT[attempt.outcome.verdict] if attempt.outcome is not None else _OF_STATE[attempt.state]


def _diff(attempt: AttemptStatus) -> OutputDiff | None:
    change = attempt.outcome.change if attempt.outcome is not None else None
    return OutputDiff(diff=change.diff.decode(errors="replace")) if change is not None and change.diff else None


def _title(status: TaskStatus) -> str:
    return " ".join(status.task.prompt.split())[:_LONGEST_TITLE]


def _updated_at(status: TaskStatus) -> datetime:
    return status.finished_at or status.last_turn.accepted_at
