"""Whatever a task or an outcome holds comes back from the database's form unchanged."""

import dataclasses
import json
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import StoreError, UsageError
from cloister.model.environment import Check, Environment, Limits, NetworkRecipe, SetupRecipe
from cloister.model.environment_source import EnvironmentSource
from cloister.model.phase import Phase
from cloister.model.sandbox import Change
from cloister.model.task import Outcome, Task, Verdict
from cloister.stores.documents import (
    document_to_outcome,
    document_to_task,
    outcome_to_document,
    pack,
    task_to_document,
    unpack,
)

SECONDS = st.floats(min_value=0, max_value=1e9)
LIMITS = st.builds(Limits, cpu=SECONDS, time_seconds=SECONDS)
ENVIRONMENTS = st.builds(
    Environment,
    name=st.text(),
    versions=st.dictionaries(st.text(), st.text()),
    variables=st.dictionaries(st.text(), st.text()),
    setup=st.builds(SetupRecipe, script=st.none() | st.text(), timeout_seconds=SECONDS),
    network=st.from_type(NetworkRecipe),
    limits=LIMITS,
    checks=st.lists(st.builds(Check, name=st.text(), command=st.text(), timeout_seconds=SECONDS)).map(tuple),
    cache_ttl_seconds=SECONDS,
)
TASKS = st.builds(
    Task,
    environment=ENVIRONMENTS,
    environment_source=st.none() | st.from_type(EnvironmentSource),
    accepted_at=st.datetimes(timezones=st.just(UTC)),
    command=st.none() | st.text(),
)
CHANGES = st.builds(Change, repository=st.just(Path("/state/attempts/1/repository.git")))
OUTCOMES = st.builds(
    Outcome,
    change=st.none() | CHANGES,
    seconds=st.dictionaries(st.sampled_from(Phase), SECONDS),
    exit_status=st.none() | st.integers(0, 255),
    accepted_to_agent_seconds=st.none() | SECONDS,
)


def test_text_that_is_not_unicode_is_refused(new_task) -> None:
    with pytest.raises(UsageError, match="not valid Unicode"):
        task_to_document(new_task(prompt="fix \udcff"))


@pytest.mark.parametrize("document", ["", "{}", '{"id": 1}'])
def test_a_damaged_document_is_an_error_of_the_store(document: str) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        document_to_task(document, patch=b"", sealed_secrets=None)
    with pytest.raises(StoreError, match="cannot be read"):
        document_to_outcome(document, diff=b"")


@given(task=TASKS)
def test_a_task_comes_back_as_it_was(task: Task) -> None:
    document = task_to_document(task)
    assert document_to_task(document, patch=task.patch, sealed_secrets=task.sealed_secrets) == task


def test_a_task_of_a_former_version_is_read(new_task) -> None:
    """Its document does not say where its environment came from."""
    document = json.loads(task_to_document(new_task()))
    del document["environment_source"]
    task = document_to_task(json.dumps(document), patch=b"", sealed_secrets=None)
    assert (task.environment.name, task.environment_source, task.environment_version) == ("web", None, None)


@given(outcome=OUTCOMES)
def test_an_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    diff = outcome.change.diff if outcome.change else b""
    assert document_to_outcome(outcome_to_document(outcome), diff=diff) == outcome


@given(change=CHANGES)
def test_a_diff_is_no_part_of_the_document(change: Change) -> None:
    large = dataclasses.replace(change, diff=bytes(100_000))
    documents = [outcome_to_document(Outcome(verdict=Verdict.SUCCEEDED, change=each)) for each in (change, large)]
    assert documents[0] == documents[1]


@pytest.mark.parametrize("data", [b"", b"\xff\x00diff", bytes(100_000)])
async def test_bytes_come_back_as_they_were(data: bytes) -> None:
    assert unpack(await pack(data)) == data
