"""What calls of a model used, and when they end an agent."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cloister.journal import Journal, open_journal
from cloister.model.environment import Environment, Limits
from cloister.model.event import Event, ModelCallFailed, RecordedEvent, Usage
from cloister.model.model_access import ModelApi
from cloister.model.model_door import ModelCall
from cloister.model.model_provider import KeySource, preset
from cloister.model.model_usage import Price, TokenUsage
from cloister.model.phase import Phase
from cloister.model.secret import SecretValue
from cloister.model.task import Outcome, TaskId, Verdict
from cloister.model_roster import ModelRoster, OpenModel
from cloister.model_watch import MOST_FAILURES, ModelWatch
from cloister.queues.fake import FakeQueue
from cloister.vault.fake import FakeVault

CALL = ModelCall(
    sandbox="t-1",
    phase=Phase.AGENT,
    flow=1,
    provider="hub",
    status=200,
    model="m-1",
    usage=TokenUsage(input_tokens=90, output_tokens=10),
)
FAILED = replace(CALL, status=503, usage=None, fault="Overloaded")
ENDED = Outcome(verdict=Verdict.FAILED, reason="the agent ended with status 1", exit_status=1)


@pytest.fixture
async def model() -> OpenModel:
    hub = preset("compatible", "hub", base="https://hub.example.com/v1")
    hub = replace(hub, key=KeySource(value=SecretValue("sk-0123456789")), prices={"m-1": Price(input=1e4, output=1e5)})
    roster = ModelRoster(vault=FakeVault(), providers=[hub])
    opened = await roster.open(ModelApi.CHAT, Environment(name="web"), "t-1", agent="robot")
    assert opened is not None
    return opened


@pytest.fixture
async def journal(new_task) -> AsyncIterator[Journal]:
    queue = FakeQueue()
    await queue.submit(new_task())
    claimed = await queue.claim()
    assert claimed is not None
    async with open_journal(claimed, queue, FakeVault()) as journal:
        yield journal


def _told(*events: Event) -> list[RecordedEvent]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return [
        RecordedEvent(seq=seq, at=at, task=TaskId("t"), attempt=None, phase=Phase.AGENT, event=event)
        for seq, event in enumerate(events)
    ]


async def test_tokens_end_an_agent_once_there_are_more_than_the_limit(model: OpenModel, journal: Journal) -> None:
    watch = ModelWatch(model, Limits(tokens=200), journal)
    watch.hear(CALL)
    watch.hear(CALL)
    assert not watch.stopped.is_set()
    watch.hear(CALL)
    assert watch.stopped.is_set()
    outcome = watch.explain(replace(ENDED, verdict=Verdict.SUCCEEDED))
    assert (outcome.verdict, outcome.reason) == (
        Verdict.FAILED,
        "the agent was stopped: it used 300 tokens, and limits.tokens is 200",
    )
    assert outcome.usage is not None
    assert (outcome.usage.calls, outcome.usage.cost) == (3, pytest.approx(3 * 1.9))


async def test_money_ends_it_too_and_so_does_a_cost_that_nobody_knows(model: OpenModel, journal: Journal) -> None:
    watch = ModelWatch(model, Limits(cost=2.0), journal)
    watch.hear(CALL)
    assert watch.stop is None
    watch.hear(CALL)
    assert watch.stop is not None
    assert "it used $3.8000, and limits.cost is 2" in watch.stop.reason
    unknown = ModelWatch(model, Limits(cost=100.0), journal)
    unknown.hear(replace(CALL, model="m-9"))
    assert unknown.stop is not None
    assert "no price of m-9" in unknown.stop.reason
    free = ModelWatch(model, Limits(), journal)
    free.hear(replace(CALL, model="m-9"))
    assert (free.stop, free.total.cost) == (None, None)


async def test_an_estimate_counts_as_well(model: OpenModel, journal: Journal) -> None:
    watch = ModelWatch(model, Limits(tokens=50), journal)
    watch.hear(replace(CALL, estimated=True, fault="the answer was cut in the middle"))
    assert watch.stop is not None
    assert watch.total.estimated


async def test_what_a_former_worker_counted_counts(model: OpenModel, journal: Journal) -> None:
    used = Usage(source="proxy", input_tokens=150, cached_input_tokens=0, output_tokens=0, model="m-1")
    said = Usage(source="agent", input_tokens=9999, cached_input_tokens=0, output_tokens=0)
    watch = ModelWatch(model, Limits(tokens=200), journal, told=_told(used, said))
    assert watch.stop is None
    watch.hear(CALL)
    assert watch.stop is not None
    refused = ModelCallFailed(provider="hub", status=401, reason="no", key_refused=True)
    assert ModelWatch(model, Limits(), journal, told=_told(refused)).stopped.is_set()


async def test_a_key_that_was_refused_is_our_fault_and_says_what_to_do(model: OpenModel, journal: Journal) -> None:
    watch = ModelWatch(model, Limits(), journal)
    watch.hear(replace(FAILED, status=401, fault="bad key", key_refused=True))
    outcome = watch.explain(ENDED)
    assert (outcome.verdict, outcome.reason) == (
        Verdict.ERRORED,
        "the provider hub did not take its key (status 401): bad key",
    )
    assert "cloister model set-key hub" in outcome.hint


async def test_failures_without_end_end_the_agent_and_one_good_answer_forgives(
    model: OpenModel, journal: Journal
) -> None:
    watch = ModelWatch(model, Limits(), journal)
    for call in (*[FAILED] * (MOST_FAILURES - 1), CALL, *[FAILED] * (MOST_FAILURES - 1)):
        watch.hear(call)
    assert watch.stop is None
    watch.hear(FAILED)
    assert watch.stop is not None
    assert "hub answered with status 503: Overloaded" in watch.stop.reason


async def test_an_agent_that_gave_up_is_explained_by_its_models_last_failure(
    model: OpenModel, journal: Journal
) -> None:
    watch = ModelWatch(model, Limits(), journal)
    watch.hear(FAILED)
    assert watch.explain(ENDED).reason == (
        "the agent ended with status 1; the last call of its model failed: hub answered with status 503: Overloaded"
    )
    assert watch.explain(replace(ENDED, verdict=Verdict.SUCCEEDED, reason="")).reason == ""
    watch.hear(CALL)
    assert watch.explain(ENDED).reason == ENDED.reason


async def test_an_agent_that_did_nothing_since_its_model_failed_is_told_as_such(
    model: OpenModel, journal: Journal
) -> None:
    watch = ModelWatch(model, Limits(), journal)
    ended = Outcome(verdict=Verdict.SUCCEEDED, reason="the agent did nothing", exit_status=0)
    assert watch.explain(ended).reason == "the agent did nothing"
    watch.hear(FAILED)
    expected = "the agent did nothing; the last call of its model failed: hub answered with status 503: Overloaded"
    assert watch.explain(ended).reason == expected
    assert watch.explain(replace(ended, reason="")).reason == "", "it worked all the same"
