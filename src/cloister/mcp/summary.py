"""What an assistant is told of a task: little enough to read, and nothing that it does not need."""

from pydantic import BaseModel, ConfigDict

from cloister.model.check import state_of
from cloister.model.fairness import held_to_text
from cloister.model.task import AttemptStatus, TaskStatus


class _Summary(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class AttemptSummary(_Summary):
    """How an attempt is doing, or how it ended."""

    number: int
    state: str
    verdict: str | None = None
    reason: str = ""
    """Why it did not succeed."""
    message: str = ""
    """The agent's answer."""
    files: int = 0
    """How many it changed."""
    added: int = 0
    """Lines."""
    removed: int = 0
    """Lines."""
    checks: str = ""
    """Of the environment, run on the change alone: passed, failed or not run."""


class TaskSummary(_Summary):
    """Where a task is."""

    task: str
    """Its id."""
    prompt: str
    """Of its last turn."""
    repository: str
    ref: str
    environment: str
    agent: str
    state: str
    """queued, running or finished."""
    verdict: str | None
    """Once finished: succeeded, failed, errored or cancelled."""
    queue_position: int | None
    """While it waits: about the how-manieth of all that wait it is to start."""
    held_back: str
    """While it waits: what limit of the server holds it back; empty when none does."""
    turn: int
    attempts: list[AttemptSummary]


def summarize(status: TaskStatus) -> TaskSummary:
    """Return what there is to say of a task."""
    task, turn = status.task, status.last_turn
    return TaskSummary(
        task=task.id,
        prompt=turn.prompt,
        repository=task.repository.address,
        ref=task.revision.ref,
        environment=task.environment.name,
        agent=task.agent,
        state=status.state,
        verdict=status.verdict,
        queue_position=status.queue_position,
        held_back=held_to_text(status.held_by) if status.held_by is not None else "",
        turn=turn.number,
        attempts=[_summarize_attempt(attempt) for attempt in turn.attempts],
    )


def _summarize_attempt(attempt: AttemptStatus) -> AttemptSummary:
    summary = AttemptSummary(number=attempt.number, state=attempt.state)
    outcome = attempt.outcome
    if outcome is None:
        return summary
    told: dict[str, object] = {
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "message": outcome.message,
        "checks": state_of(outcome.checks),
    }
    if outcome.change is not None:
        stats = outcome.change.stats
        told |= {"files": stats.files, "added": stats.added, "removed": stats.removed}
    return summary.model_copy(update=told)
