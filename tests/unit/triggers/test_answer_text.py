"""What is written below what asked for work is no longer than the forge takes, whatever an agent and others wrote."""

import pytest

from cloister.model.check import CheckResult
from cloister.model.task import AttemptId, AttemptStatus, Outcome, TaskId, TaskState, Verdict
from cloister.triggers.answer_text import done_text, refused_text, taken_text

MOST_OF_A_FORGE = 65_536
TASK = TaskId("1qweqbdzhgb5")


@pytest.mark.parametrize("hostile", ["<", "![", "<!--", "\x1b", "@a", "```\n<", "\n"])
def test_an_answer_is_never_longer_than_a_forge_takes(hostile: str) -> None:
    long = hostile * 50_000
    checks = tuple(CheckResult(name=long, ok=it < 70, status=1, seconds=1.0, reason=long) for it in range(90))
    outcome = Outcome(verdict=Verdict.SUCCEEDED, message=long, checks=checks)
    chosen = AttemptStatus(attempt=AttemptId("1-1"), number=1, state=TaskState.FINISHED, outcome=outcome)
    flags, page = (long,) * 30, "https://cloister.example/tasks/1qweqbdzhgb5"
    done = done_text("k", TASK, page, chosen, flags=flags, reason=long, diff="-<\n" * 50_000)
    assert len(done) <= MOST_OF_A_FORGE
    assert done.endswith(f"[task {TASK}]({page})")
    assert done.count(": failed") == 20, "those come first"
    assert "- and 40 more" in done
    assert len(taken_text("k", TASK, page, flags)) <= MOST_OF_A_FORGE
    assert len(refused_text("k", long, long)) <= MOST_OF_A_FORGE
