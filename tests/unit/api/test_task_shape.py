from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import BaseModel

from cloister.api.task_shape import (
    AttemptShape,
    ChangeShape,
    OutcomeShape,
    TaskShape,
    TurnShape,
    shape_to_status,
    status_to_shape,
)
from cloister.model.check import CheckResult
from cloister.model.environment import Check, Environment
from cloister.model.phase import Phase
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.secret import SecretUse
from cloister.model.task import (
    AttemptId,
    AttemptStatus,
    Outcome,
    Repository,
    Revision,
    Task,
    TaskId,
    TaskState,
    TaskStatus,
    Turn,
    Verdict,
    first_turn,
)

AT = datetime(2026, 1, 2, tzinfo=UTC)
COMMIT = Commit("a" * 40)
TASK = Task(
    id=TaskId("t1"),
    repository=Repository(address="https://git.example/p.git", directory="p"),
    revision=Revision(ref="main", commit=COMMIT, default_branch="main", default_commit=COMMIT),
    environment=Environment(
        name="e", secrets=(SecretUse(name="TOKEN"),), checks=(Check(name="test", command="pytest"),)
    ),
    prompt="fix it",
    agent="command",
    command="make fix",
    patch=b"a patch",
    sealed_secrets=b"sealed",
    accepted_at=AT,
)
ATTEMPTS = (
    AttemptStatus(
        attempt=AttemptId("t1-1-1"),
        number=1,
        state=TaskState.FINISHED,
        outcome=Outcome(
            verdict=Verdict.SUCCEEDED,
            message="done",
            change=Change(
                base=COMMIT,
                commit=Commit("b" * 40),
                repository=Path("/secret/place"),
                diff=b"diff",
                stats=DiffStats(files=1, added=2, removed=3),
                paths=("a",),
            ),
            checks=(CheckResult(name="test", ok=True, status=0, seconds=1.5),),
            seconds={Phase.AGENT: 1.0},
        ),
    ),
)
STATUS = TaskStatus(
    task=TASK,
    state=TaskState.FINISHED,
    verdict=Verdict.SUCCEEDED,
    finished_at=AT,
    attempts=ATTEMPTS,
    turns=(first_turn(TASK, ATTEMPTS),),
)


@pytest.mark.parametrize(
    ("kind", "shape", "left_out"),
    [
        (Task, TaskShape, {"patch", "sealed_secrets"}),
        (TaskStatus, TaskShape, {"task"}),
        (AttemptStatus, AttemptShape, set[str]()),
        (Turn, TurnShape, set[str]()),
        (Outcome, OutcomeShape, set[str]()),
        (Change, ChangeShape, {"repository", "diff"}),
    ],
)
def test_what_is_added_to_the_model_is_shown_or_left_out_on_purpose(
    kind: type, shape: type[BaseModel], left_out: set[str]
) -> None:
    assert {field.name for field in fields(kind)} - left_out <= set(shape.model_fields)


def test_a_status_comes_back_without_what_belongs_to_the_host() -> None:
    shape = status_to_shape(STATUS)
    text = shape.model_dump_json()
    assert not any(word in text for word in ("a patch", "sealed", "secret/place"))
    outcome = STATUS.attempts[0].outcome
    assert outcome is not None and outcome.change is not None
    change = replace(outcome.change, repository=Path(), diff=b"")
    attempts = (replace(STATUS.attempts[0], outcome=replace(outcome, change=change)),)
    task = replace(STATUS.task, patch=b"", sealed_secrets=None)
    turns = (replace(STATUS.turns[0], attempts=attempts),)
    expected = replace(STATUS, task=task, attempts=attempts, turns=turns)
    assert shape_to_status(TaskShape.model_validate_json(text)) == expected
