from typing import Any

import pytest

from cloister.errors import ConflictError, NotFoundError
from cloister.model.conversation import conversation_to_text, find_base, session_named
from cloister.model.phase import Phase
from cloister.model.task import (
    AttemptId,
    AttemptStatus,
    Exchange,
    Outcome,
    Shell,
    TaskState,
    TaskStatus,
    Turn,
    Verdict,
)

from .test_choice import left

CANCELLED = Outcome(verdict=Verdict.CANCELLED, reason="cancelled before a worker took it")


def status(task: Any, *turns: list[Outcome | None], continues: dict[int, str] | None = None) -> TaskStatus:
    made = tuple(
        Turn(
            number=number,
            prompt="x",
            accepted_at=task.accepted_at,
            continues=AttemptId((continues or {}).get(number, f"t1-{number - 1}-1")) if number > 1 else None,
            seq=1,
            attempts=tuple(
                AttemptStatus(
                    attempt=AttemptId(f"t1-{number}-{place}"),
                    number=place,
                    state=TaskState.FINISHED if outcome else TaskState.RUNNING,
                    outcome=outcome,
                )
                for place, outcome in enumerate(outcomes, 1)
            ),
        )
        for number, outcomes in enumerate(turns, 1)
    )
    last = made[-1].attempts
    state = TaskState.FINISHED if all(attempt.outcome for attempt in last) else TaskState.RUNNING
    return TaskStatus(task=task, state=state, verdict=None, finished_at=None, attempts=last, turns=made)


@pytest.mark.parametrize(
    ("turns", "number", "error", "message"),
    [
        ([[left(), None]], None, ConflictError, "task t1 is running"),
        ([[left(), None]], 1, ConflictError, "task t1 is running"),
        ([[CANCELLED]], None, ConflictError, "left nothing to go on from: attempt 1 cancelled (cancelled before"),
        ([[CANCELLED]], 1, ConflictError, "attempt 1 of task t1 left nothing to go on from"),
        ([[left()]], 2, NotFoundError, "turn 1 of task t1 has no attempt 2"),
        ([[left(), left()], [left()]], 2, NotFoundError, "turn 2 of task t1 has no attempt 2"),
    ],
)
def test_where_nothing_is_there_to_go_on_from_nobody_does(
    new_task, turns: Any, number: int | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        find_base(status(new_task(), *turns), number)
    assert message in str(caught.value)
    assert getattr(caught.value, "hint", "said") or error is NotFoundError


def test_a_task_without_an_agent_has_no_conversation(new_task) -> None:
    shell = Shell(phase=Phase.SETUP, terminal="xterm")
    for task in (new_task(shell=shell, agent="shell"), new_task(agent="check")):
        with pytest.raises(ConflictError, match="had no agent"):
            find_base(status(task, [left()]))


@pytest.mark.parametrize(
    ("turns", "number", "base"),
    [
        ([[left()]], None, "t1-1-1"),
        ([[left(9), left(1)]], None, "t1-1-2"),
        ([[left(9), left(1)]], 1, "t1-1-1"),
        ([[left(9, verdict="failed")]], None, "t1-1-1"),
        ([[CANCELLED, left(9, verdict="failed")]], None, "t1-1-2"),
        ([[left()], [left()]], None, "t1-2-1"),
        ([[left()], [CANCELLED]], None, "t1-1-1"),
        ([[left(9), left(1)], [CANCELLED], [CANCELLED]], None, "t1-1-2"),
    ],
)
def test_a_follow_up_goes_on_from_the_best_that_left_something(
    new_task, turns: Any, number: int | None, base: str
) -> None:
    continues = {2: "t1-1-2", 3: "t1-1-2"} if len(turns) == 3 else {}
    assert find_base(status(new_task(), *turns, continues=continues), number).attempt == base


def test_a_conversation_is_one_text_that_ends_where_the_prompt_comes() -> None:
    former = [Exchange(prompt="fix it\n", message="I fixed it."), Exchange(prompt="more", message="")]
    text = conversation_to_text(former)
    assert text[text.index("## ") :] == (
        "## Turn 1: asked\n\nfix it\n\n## Turn 1: answered\n\nI fixed it.\n\n"
        "## Turn 2: asked\n\nmore\n\n## Turn 2: answered\n\n(no words)\n\n## Asked now"
    )
    assert conversation_to_text(()) == ""


@pytest.mark.parametrize("told", [None, "", "-c", "--last", "a b", "a\nb", "\ud800", "x" * 201, "$(id)", "../x"])
def test_what_cannot_be_a_session_is_none(told: str | None) -> None:
    assert session_named(told) is None


@pytest.mark.parametrize("told", ["0199a213-81c0-7800-8aa1-bbab2a035a53", "ses_4f2b", "x" * 200])
def test_a_session_is_known_by_its_name(told: str) -> None:
    assert session_named(told) == told
