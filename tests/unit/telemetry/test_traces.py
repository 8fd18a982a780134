"""A task as a trace: one for all its processes, with what happened in it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from cloister.errors import UsageError
from cloister.model.event import (
    AgentEvent,
    AgentEventKind,
    CheckFinished,
    EgressAllowed,
    EgressRefused,
    ModelCallFailed,
    PhaseFinished,
    PhaseStarted,
    SetupStepFinished,
    SnapshotMissed,
    Usage,
)
from cloister.model.phase import Phase
from cloister.model.task import FollowUp, Outcome, Task, Verdict
from cloister.model.trace import TraceParent
from cloister.protocols import AttemptQueue
from cloister.queues.embedded import EmbeddedQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.tasks import SqlTaskStore
from cloister.telemetry.exporters import find_endpoint, open_tracer
from cloister.telemetry.traces import TaskTracer
from cloister.telemetry.watched_queue import WatchedQueue

pytestmark = pytest.mark.anyio

CALLER = TraceParent(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
NewTask = Callable[..., Task]


@asynccontextmanager
async def traced(state: Path, exporter: InMemorySpanExporter) -> AsyncIterator[AttemptQueue]:
    """The queue of one worker, whose spans are exported as they end."""
    async with (
        Database.open(state / "cloister.db") as database,
        EmbeddedQueue.open(SqlLedger(database), state / "workers") as queue,
    ):
        tracer = TaskTracer(SimpleSpanProcessor(exporter), Resource.create({}), SqlTaskStore(database))
        yield WatchedQueue(queue, [tracer])
        tracer.close()


async def _work(queue: AttemptQueue, outcome: Outcome) -> None:
    attempt = await queue.claim()
    assert attempt is not None
    await queue.record(attempt, Phase.PROVISION, PhaseStarted(network="off"))
    await queue.record(attempt, Phase.PROVISION, SnapshotMissed(key="k", reason="no disk yet"))
    await queue.record(attempt, Phase.PROVISION, PhaseFinished(seconds=0.1))
    await queue.finish(attempt, outcome)


def _named(exporter: InMemorySpanExporter, name: str) -> ReadableSpan:
    (span,) = [span for span in exporter.get_finished_spans() if span.name == name]
    return span


def _facts(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None and span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


async def test_a_task_goes_on_its_callers_trace(new_task: NewTask, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    async with traced(tmp_path, exporter) as queue:
        await queue.submit(new_task(trace_parent=CALLER))
        await _work(queue, Outcome(verdict=Verdict.FAILED, reason="the setup script failed"))
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"queue", "provision", "attempt", "task"}
    assert {format(span.context.trace_id, "032x") for span in spans.values()} == {CALLER.trace_id}
    parents = {name: span.parent and format(span.parent.span_id, "016x") for name, span in spans.items()}
    ids = {name: format(span.context.span_id, "016x") for name, span in spans.items()}
    assert parents == {
        "task": CALLER.span_id,
        "queue": ids["task"],
        "attempt": ids["task"],
        "provision": ids["attempt"],
    }
    assert spans["task"].kind is SpanKind.SERVER
    assert spans["task"].status.status_code is spans["attempt"].status.status_code is StatusCode.ERROR
    assert spans["attempt"].status.description == "the setup script failed"
    facts = _facts(spans["attempt"])
    assert (facts["cloister.snapshot.hit"], facts["cloister.verdict"]) == (False, "failed")
    assert facts["vcs.ref.head.revision"] == "a" * 40
    (missed,) = spans["provision"].events
    assert missed.name == "snapshot missed" and missed.attributes is not None
    assert missed.attributes["cloister.reason"] == "no disk yet"


async def test_what_the_caller_does_not_keep_is_not_sent(new_task: NewTask, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    async with traced(tmp_path, exporter) as queue:
        unsampled = TraceParent(trace_id=CALLER.trace_id, span_id=CALLER.span_id, sampled=False)
        await queue.submit(new_task(trace_parent=unsampled))
        await _work(queue, Outcome(verdict=Verdict.SUCCEEDED))
        assert exporter.get_finished_spans() == ()


async def test_attempts_of_several_workers_and_turns_are_one_trace(new_task: NewTask, tmp_path: Path) -> None:
    exporter, task = InMemorySpanExporter(), new_task(attempts=2)
    async with traced(tmp_path, exporter) as one, traced(tmp_path, exporter) as other:
        await one.submit(task)
        await _work(one, Outcome(verdict=Verdict.SUCCEEDED))
        assert "task" not in {span.name for span in exporter.get_finished_spans()}, "it is not over"
        await _work(other, Outcome(verdict=Verdict.SUCCEEDED))
        later = FollowUp(
            number=2, prompt="and now", continues=f"{task.id}-1-1", attempts=1, accepted_at=task.accepted_at
        )  # type: ignore[arg-type]
        await one.follow_up(task.id, later)
        await _work(other, Outcome(verdict=Verdict.SUCCEEDED))
    spans = exporter.get_finished_spans()
    assert {format(span.context.trace_id, "032x") for span in spans} == {task.trace_id}
    root, turn = _named(exporter, "task"), _named(exporter, "turn")
    assert root.parent is None
    assert turn.parent is not None and turn.parent.span_id == root.context.span_id
    parents = [span.parent and span.parent.span_id for span in spans if span.name == "attempt"]
    assert parents == [root.context.span_id, root.context.span_id, turn.context.span_id]


async def test_a_worker_that_is_stopped_leaves_no_span_out(new_task: NewTask, tmp_path: Path) -> None:
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    async with traced(tmp_path, first) as stopped:
        await stopped.submit(new_task())
        attempt = await stopped.claim()
        assert attempt is not None
        await stopped.record(attempt, Phase.AGENT, PhaseStarted(network="off"))
    async with traced(tmp_path, second) as next_worker:
        await _work(next_worker, Outcome(verdict=Verdict.SUCCEEDED))
    assert [span.name for span in first.get_finished_spans()] == ["queue", "agent", "attempt"]
    assert [span.name for span in second.get_finished_spans()] == ["provision", "attempt", "task"]
    retries = [_facts(_named(exporter, "attempt"))["cloister.attempt.retry"] for exporter in (first, second)]
    assert retries == [0, 1]


async def test_steps_are_spans_of_their_phase(new_task: NewTask, tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    call = {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 2, "provider": "openai", "model": "m"}
    check = CheckFinished(name="test", ok=False, status=1, reason="it failed", seconds=3.0, flaky=False, notes=())
    async with traced(tmp_path, exporter) as queue:
        await queue.submit(new_task())
        attempt = await queue.claim()
        assert attempt is not None
        step = {"command": "setup", "folder": ".", "reason": "requirements.txt", "ok": True}
        await queue.record(
            attempt,
            Phase.SETUP,
            PhaseStarted(network="full"),
            SetupStepFinished(tool="pip", seconds=2.0, **step),
            SetupStepFinished(tool="npm", seconds=5.0, **step),
            PhaseFinished(seconds=7.0),
        )
        await queue.record(
            attempt,
            Phase.AGENT,
            PhaseStarted(network="limited"),
            EgressAllowed(host="api.example", port=443, method="POST", rule="r", flow=1),
            Usage(source="proxy", flow=1, **call),
            ModelCallFailed(provider="openai", status=429, reason="slow down", flow=2),
            EgressRefused(host="evil.example", port=443, method="GET", rule="limited", hint="h"),
            AgentEvent(kind=AgentEventKind.COMMAND_STARTED, number=1, command_line="pytest -q"),
            AgentEvent(kind=AgentEventKind.COMMAND_FINISHED, number=1, status=2),
            AgentEvent(kind=AgentEventKind.COMMAND_STARTED, number=2, command_line="sleep 9"),
            PhaseFinished(seconds=1.0),
        )
        await queue.record(attempt, Phase.OUTPUT, PhaseStarted(network="off"), check, PhaseFinished(seconds=3.0))
        await queue.finish(attempt, Outcome(verdict=Verdict.SUCCEEDED))
    agent, setup, output = (_named(exporter, name) for name in ("agent", "setup", "output"))
    pip, npm = _named(exporter, "setup pip"), _named(exporter, "setup npm")
    assert (_seconds(pip), _seconds(npm)) == (pytest.approx(2), pytest.approx(5))
    assert npm.start_time == pip.end_time
    below = {"setup pip": setup, "chat m": agent, "chat": agent, "check": output}
    for name, phase in below.items():
        span = _named(exporter, name)
        assert span.parent is not None and span.parent.span_id == phase.context.span_id, name
    assert _facts(_named(exporter, "chat m"))["gen_ai.usage.input_tokens"] == 10
    assert _named(exporter, "chat m").kind is SpanKind.CLIENT
    assert _facts(_named(exporter, "chat"))["http.response.status_code"] == 429
    assert _named(exporter, "check").status.description == "it failed"
    assert _seconds(_named(exporter, "check")) == pytest.approx(3)
    commands = [span for span in exporter.get_finished_spans() if span.name == "command"]
    assert [_facts(span).get("process.exit.code") for span in commands] == [2, None], "the second was cut off"
    assert [told.name for told in agent.events] == ["egress refused"]


NOWHERE: dict[str, str] = {}
BASE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://base:4318/"}


@pytest.mark.parametrize(
    ("setting", "environ", "found"),
    [
        (None, NOWHERE, None),
        ("http://setting:4318", NOWHERE, "http://setting:4318/v1/traces"),
        ("http://setting:4318", BASE, "http://base:4318/v1/traces"),
        (None, {**BASE, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://own/t"}, "http://own/t"),
        (None, {**BASE, "OTEL_TRACES_EXPORTER": "none"}, None),
        ("http://setting:4318", {"OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_traces_are_sent_where_it_is_said(setting: str | None, environ: dict[str, str], found: str | None) -> None:
    assert find_endpoint("traces", setting, environ) == found


def test_another_protocol_is_refused() -> None:
    with pytest.raises(UsageError, match="traces are sent by http/protobuf alone"):
        find_endpoint("traces", None, {**BASE, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"})


async def test_nothing_is_made_when_it_is_off(database: Database) -> None:
    with open_tracer(SqlTaskStore(database), None, {}) as tracer:
        assert tracer is None
