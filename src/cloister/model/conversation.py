"""What was said in a task before, and how a follow-up goes on from it."""

import re
from collections.abc import Iterable, Sequence

from cloister.errors import ConflictError, NotFoundError
from cloister.model.choice import choose
from cloister.model.task import (
    CHECK,
    SHELL,
    AttemptId,
    AttemptStatus,
    Continuation,
    Exchange,
    FollowUp,
    TaskId,
    TaskState,
    TaskStatus,
    Turn,
)

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,199}", re.ASCII)
_CONVERSATION = """\
This goes on from earlier turns of the same task. They are below, oldest first; what was changed in them is in the work
tree. The last part is what is asked now."""


def check_can_go_on(status: TaskStatus) -> None:
    """Raise ConflictError when nobody can follow up on this task now, with what to do instead."""
    task = status.task
    if status.state is not TaskState.FINISHED:
        raise ConflictError(
            f"task {task.id} is {status.state}: a follow-up goes on from what its last turn leaves",
            hint=f"wait for it: cloister task wait {task.id}  (or end it: cloister task cancel {task.id})",
        )
    if task.shell is not None or task.agent in (CHECK, SHELL):
        raise ConflictError(f"task {task.id} had no agent, so there is nothing to go on from", hint="cloister run")


def check_archivable(task: TaskId, state: TaskState, archived: bool) -> None:
    """Raise ConflictError when the task is not over and shall be put out of sight: nobody would see what it does."""
    if archived and state is not TaskState.FINISHED:
        hint = f"wait for it (cloister task wait {task}), or cancel it (cloister task cancel {task})"
        raise ConflictError(f"task {task} is {state}: only what is over is archived", hint=hint)


def check_turn(task: TaskId, turn: FollowUp, *, state: TaskState | None, last: int | None) -> None:
    """Raise NotFoundError for a task of no state, and ConflictError unless its `last` turn is over and before this."""
    if state is None or last is None:
        raise NotFoundError(f"there is no task {task!r}")
    if state is not TaskState.FINISHED or last != turn.number - 1:
        raise ConflictError(
            f"somebody else followed up on task {task} a moment ago",
            hint=f"wait for that turn, and go on from it: cloister task wait {task}",
        )


def find_base(status: TaskStatus, number: int | None = None) -> AttemptStatus:
    """Return the attempt that a follow-up goes on from: of the last turn that number, or its best.

    A turn that left nothing, because it was cancelled or could not be run, is passed over when no number is given.
    ConflictError when there is nothing to go on from; NotFoundError for an unknown number.
    """
    check_can_go_on(status)
    if number is not None:
        return _named(status, number)
    turns = {turn.number: turn for turn in status.turns or (status.last_turn,)}
    turn = status.last_turn
    while True:
        left = [attempt for attempt in turn.attempts if _left_something(attempt)]
        if left:
            return choose(left).attempt
        if turn.continues is None:
            raise ConflictError(
                f"task {status.task.id} left nothing to go on from: {_why(turn)}",
                hint="give the task anew: cloister run",
            )
        found = next((t for t in turns.values() if any(a.attempt == turn.continues for a in t.attempts)), None)
        assert found is not None, "a turn goes on from an attempt of its own task"
        return next(a for a in found.attempts if a.attempt == turn.continues)


def continuation_of(turns: Sequence[Turn], turn: Turn) -> Continuation:
    """Return what the attempts of a later `turn` are given; `turns` has those before it, with what they left."""
    attempts = {attempt.attempt: (each, attempt) for each in turns for attempt in each.attempts}
    conversation: list[Exchange] = []
    attempt: AttemptId | None = turn.continues
    assert attempt is not None, "the first turn goes on from nothing"
    outcome = attempts[attempt][1].outcome
    while attempt is not None:
        former, status = attempts[attempt]
        message = status.outcome.message if status.outcome else ""
        conversation.insert(0, Exchange(prompt=former.prompt, message=message))
        attempt = former.continues
    assert turn.continues is not None
    return Continuation(
        attempt=turn.continues,
        prompt=turn.prompt,
        files=turn.files,
        given=next((each.given for each in reversed(turns[: turn.number]) if each.given), None),
        accepted_at=turn.accepted_at,
        diff=outcome.change.diff if outcome and outcome.change else b"",
        conversation=tuple(conversation),
        session=outcome.session if outcome else None,
    )


def conversation_to_text(conversation: Iterable[Exchange]) -> str:
    """Return the former turns as one text, for an agent that does not remember them itself; empty without any."""
    parts = [
        f"## Turn {number}: asked\n\n{exchange.prompt.strip()}\n\n"
        f"## Turn {number}: answered\n\n{exchange.message.strip() or '(no words)'}"
        for number, exchange in enumerate(conversation, 1)
    ]
    return "\n\n".join([_CONVERSATION, *parts, "## Asked now"]) if parts else ""


def session_named(told: str | None) -> str | None:
    """Return what an agent calls its conversation; None for what cannot be a name.

    A program in the sandbox printed it, and in the next turn it stands in an argument list.
    """
    return told if told is not None and _SESSION.fullmatch(told) else None


def _named(status: TaskStatus, number: int) -> AttemptStatus:
    turn = status.last_turn
    found = next((attempt for attempt in turn.attempts if attempt.number == number), None)
    if found is None:
        raise NotFoundError(f"turn {turn.number} of task {status.task.id} has no attempt {number}")
    if not _left_something(found):
        others = [str(attempt.number) for attempt in turn.attempts if _left_something(attempt)]
        raise ConflictError(
            f"attempt {number} of task {status.task.id} left nothing to go on from: {_end_of(found)}",
            hint=f"go on from another: --attempt {others[0]}" if others else "leave --attempt out",
        )
    return found


def _left_something(attempt: AttemptStatus) -> bool:
    """Whether what it did was collected, were it nothing at all."""
    return attempt.outcome is not None and attempt.outcome.change is not None


def _why(turn: Turn) -> str:
    return "; ".join(f"attempt {attempt.number} {_end_of(attempt)}" for attempt in turn.attempts)


def _end_of(attempt: AttemptStatus) -> str:
    outcome = attempt.outcome
    if outcome is None:
        return str(attempt.state)
    reason = outcome.reason.partition("\n")[0]
    return f"{outcome.verdict} ({reason})" if reason not in ("", outcome.verdict) else str(outcome.verdict)
