"""Which of a turn's attempts is the best, and why: by its end, its checks, the size of its change, its number."""

from collections.abc import Sequence
from dataclasses import dataclass

from cloister.errors import ConflictError, NotFoundError
from cloister.model.check import ChecksState, state_of
from cloister.model.sandbox import Change
from cloister.model.task import AttemptStatus, TaskStatus, Turn, Verdict

_CHECKS_BEST_FIRST = (ChecksState.PASSED, ChecksState.NOT_RUN, ChecksState.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The attempt that is shown, applied and gone on from unless another one is named."""

    attempt: AttemptStatus
    reason: str
    """In a few words; empty where there was nothing to choose from."""


def choose(attempts: Sequence[AttemptStatus]) -> Choice:
    """Return the best of them, and what decided. An attempt that is not over comes after those that succeeded."""
    best = min(attempts, key=_rank)
    others = [attempt for attempt in attempts if attempt is not best]
    over = [attempt for attempt in others if attempt.outcome is not None]
    if not others or best.outcome is None:
        return Choice(attempt=best, reason="")
    return Choice(attempt=best, reason=_reason(best, over) if over else "the first that is over")


def best_attempt(status: TaskStatus) -> AttemptStatus:
    """Return the attempt to show first."""
    return choose(status.attempts).attempt


def attempt_of(status: TaskStatus, number: int | None, turn: int | None = None) -> AttemptStatus:
    """Return the attempt of that number, or the best, of that turn, or of the last. NotFoundError."""
    meant = turn_of(status, turn)
    if number is None:
        return choose(meant.attempts).attempt
    for attempt in meant.attempts:
        if attempt.number == number:
            return attempt
    of_turn = f"turn {meant.number} of task {status.task.id}" if len(status.turns) > 1 else f"task {status.task.id}"
    raise NotFoundError(f"{of_turn} has {len(meant.attempts)} attempts; there is no number {number}")


def change_of(status: TaskStatus, chosen: AttemptStatus) -> Change:
    """Return what an attempt of that task changed. ConflictError when there is no change to be had (yet)."""
    if chosen.outcome is None:
        raise ConflictError(
            f"task {status.task.id} is {chosen.state}: there is no change yet",
            hint=f"wait for it: cloister task wait {status.task.id}",
        )
    if chosen.outcome.change is None:
        raise ConflictError(f"attempt {chosen.number} of task {status.task.id} left no change")
    return chosen.outcome.change


def turn_of(status: TaskStatus, number: int | None) -> Turn:
    """Return the turn of that number, or the last. NotFoundError."""
    if number is None:
        return status.last_turn
    for turn in status.turns:
        if turn.number == number:
            return turn
    raise NotFoundError(f"task {status.task.id} has {len(status.turns)} turns; there is no number {number}")


def size_of(attempt: AttemptStatus) -> int:
    """Return how many lines its change adds and removes; 0 without one."""
    change = attempt.outcome.change if attempt.outcome is not None else None
    return change.stats.added + change.stats.removed if change is not None else 0


def _rank(attempt: AttemptStatus) -> tuple[bool, int, int, int, int]:
    return (not _succeeded(attempt), _checks(attempt), _changed(attempt), size_of(attempt), attempt.number)


def _reason(best: AttemptStatus, others: Sequence[AttemptStatus]) -> str:
    """Name the first thing in which it is better than the next best."""
    next_best = min(others, key=_rank)
    if _succeeded(best) != _succeeded(next_best):
        return "the only one that succeeded"
    if _checks(best) != _checks(next_best):
        return "its checks passed" if _checks(best) == 0 else "its checks did not fail"
    alike = [other for other in others if _rank(other)[:2] == _rank(best)[:2]]
    among = f" of the {len(alike) + 1} whose checks passed" if _checks(best) == 0 else ""
    if _changed(best) != _changed(next_best):
        return f"the only one{among} that changed anything"
    if size_of(best) != size_of(next_best):
        sizes = ", ".join(f"{size_of(other)} by attempt {other.number}" for other in alike)
        return f"the smallest change{among}: {_lines(size_of(best))}, against {sizes}"
    return f"the first of {len([o for o in others if _rank(o)[:4] == _rank(best)[:4]]) + 1} that are as good"


def _lines(count: int) -> str:
    return f"{count} line{'' if count == 1 else 's'}"


def _succeeded(attempt: AttemptStatus) -> bool:
    return attempt.outcome is not None and attempt.outcome.verdict is Verdict.SUCCEEDED


def _checks(attempt: AttemptStatus) -> int:
    return _CHECKS_BEST_FIRST.index(state_of(attempt.outcome.checks) if attempt.outcome else ChecksState.NOT_RUN)


def _changed(attempt: AttemptStatus) -> int:
    """0 with a change, 1 with an empty one, 2 without any: who did nothing has the smallest change of all."""
    change = attempt.outcome.change if attempt.outcome is not None else None
    return 2 if change is None else 0 if change.diff else 1
