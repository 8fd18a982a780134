from pathlib import Path
from typing import Any

import pytest

from cloister.model.check import CheckResult
from cloister.model.choice import choose
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.task import AttemptId, AttemptStatus, Outcome, TaskState, Verdict

PASSED, FAILED = (CheckResult(name="test", ok=ok, status=0 if ok else 1, seconds=1.0) for ok in (True, False))


def left(lines: int | None = 1, *, verdict: str = "succeeded", checks: Any = ()) -> Outcome:
    """How an attempt ended, with so many changed lines; None is no change at all."""
    base, stats = Commit("a" * 40), DiffStats(files=1, added=lines or 0, removed=0)
    diff = b"diff" if lines else b""
    change = Change(base=base, commit=base, repository=Path("/m"), diff=diff, stats=stats)
    return Outcome(verdict=Verdict(verdict), change=None if lines is None else change, checks=checks)


@pytest.mark.parametrize(
    ("outcomes", "best", "reason"),
    [
        ([left()], 1, ""),
        ([None, None], 1, ""),
        ([None, left()], 2, "the first that is over"),
        ([left(), left(9)], 1, "the smallest change: 1 line, against 9 by attempt 2"),
        ([left(3), left(2), left(9)], 2, "the smallest change: 2 lines, against 3 by attempt 1, 9 by attempt 3"),
        ([left(3), left(3)], 1, "the first of 2 that are as good"),
        ([left(0), left(9)], 2, "the only one that changed anything"),
        ([left(1, verdict="failed"), left(9)], 2, "the only one that succeeded"),
        ([left(None, verdict="cancelled"), left(9)], 2, "the only one that succeeded"),
        ([left(1, checks=[FAILED]), left(9, checks=[PASSED])], 2, "its checks passed"),
        ([left(1, checks=[FAILED]), left(9)], 2, "its checks did not fail"),
        (
            [left(9, checks=[PASSED]), left(2, checks=[PASSED]), left(1, checks=[FAILED])],
            2,
            "the smallest change of the 2 whose checks passed: 2 lines, against 9 by attempt 1",
        ),
        ([left(None, verdict="failed"), left(2, verdict="failed")], 2, "the only one that changed anything"),
        ([None, left(None, verdict="failed"), left(2, verdict="failed")], 3, "the only one that changed anything"),
    ],
)
def test_the_best_is_chosen_by_end_checks_size_and_number(
    outcomes: list[Outcome | None], best: int, reason: str
) -> None:
    attempts = [
        AttemptStatus(
            attempt=AttemptId(f"t1-1-{number}"),
            number=number,
            state=TaskState.FINISHED if outcome else TaskState.RUNNING,
            outcome=outcome,
        )
        for number, outcome in enumerate(outcomes, 1)
    ]
    choice = choose(attempts)
    assert (choice.attempt.number, choice.reason) == (best, reason)
