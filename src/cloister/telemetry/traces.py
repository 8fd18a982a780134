"""Tells a task as a trace: a span for the task, its turns and attempts, their phases, and each step of those."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

from cloister.errors import CloisterError
from cloister.model.event import Event
from cloister.model.phase import Phase
from cloister.model.task import Attempt, AttemptId, Outcome, Task, TaskState, TaskStatus, Turn, Verdict
from cloister.model.trace import span_id_of
from cloister.protocols import TaskStore
from cloister.telemetry.attempt_spans import AttemptSpans
from cloister.telemetry.watched_queue import QueueWatcher

CLOSING_MILLISECONDS = 5000
"""How long the last spans may take to a collector that is slow or gone."""
_MOST_TOLD = 10_000
_SAMPLED, _NOT_SAMPLED = TraceFlags(TraceFlags.SAMPLED), TraceFlags(TraceFlags.DEFAULT)


class _ChosenIds(RandomIdGenerator):
    """Ids by chance, except where one is chosen: of spans that other processes are to name as parent."""

    def __init__(self) -> None:
        super().__init__()
        self._trace: int | None = None
        self._span: int | None = None

    @contextmanager
    def chosen(self, *, trace_id: str, span_id: str) -> Iterator[None]:
        """Let the one span that is started inside have these."""
        self._trace, self._span = int(trace_id, 16), int(span_id, 16)
        try:
            yield
        finally:
            self._trace = self._span = None

    def generate_trace_id(self) -> int:
        return self._trace if self._trace is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        return self._span if self._span is not None else super().generate_span_id()


class TaskTracer:
    """Makes the spans. A task's and a turn's are told by whoever ends its last attempt, under ids that all know.

    What a task's parent decided about sampling holds for it; else the sampler decides, by the trace's id, so that all
    processes decide alike.
    """

    def __init__(self, processor: SpanProcessor, resource: Resource, store: TaskStore) -> None:
        self._ids = _ChosenIds()
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("cloister")
        self._store = store
        self._open: dict[AttemptId, AttemptSpans] = {}
        self._told: dict[str, None] = {}

    def accepted(self, attempts: int) -> None:
        """See `QueueWatcher`."""

    def claimed(self, attempt: Attempt) -> None:
        """See `QueueWatcher`."""
        parent = self._parent_of_attempts(attempt.task, attempt.turn)
        start = self._start_below(parent)
        if not attempt.retry:
            waited = start("queue", start_time=nanoseconds(attempt.accepted_at), attributes=_attempt_facts(attempt))
            waited.end()
        span = start("attempt", attributes={**_task_facts(attempt.task), **_attempt_facts(attempt)})
        below = self._start_below(trace.set_span_in_context(span, Context()))
        self._open[attempt.id] = AttemptSpans(span, below)

    def told(self, attempt: Attempt, phase: Phase | None, event: Event) -> None:
        """See `QueueWatcher`."""
        if (spans := self._open.get(attempt.id)) is not None:
            spans.told(phase, event)

    async def finished(self, attempt: Attempt, outcome: Outcome) -> None:
        """See `QueueWatcher`."""
        if (spans := self._open.pop(attempt.id, None)) is not None:
            spans.finished(outcome)
        try:
            status = await self._store.get(attempt.task.id)
        except CloisterError:
            return  # the attempt is told, and a trace is no reason for anything to fail
        if status.state is TaskState.FINISHED:
            self._tell_turn(status)

    def close(self) -> None:
        """Tell what goes on without this worker, and send what was not sent."""
        for spans in self._open.values():
            spans.left()
        self._open.clear()
        self._provider.force_flush(CLOSING_MILLISECONDS)
        self._provider.shutdown()

    def _tell_turn(self, status: TaskStatus) -> None:
        task, turn = status.task, status.last_turn
        if _turn_span(task, turn.number) in self._told or status.finished_at is None:
            return
        self._told[_turn_span(task, turn.number)] = None
        if len(self._told) > _MOST_TOLD:
            self._told.pop(next(iter(self._told)))
        context = _outer_context(task) if turn.number == 1 else self._parent_of_attempts(task, 1)
        with self._ids.chosen(trace_id=task.trace_id, span_id=_turn_span(task, turn.number)):
            span = self._tracer.start_span(
                "task" if turn.number == 1 else "turn",
                context=context,
                kind=trace.SpanKind.SERVER,
                start_time=nanoseconds(turn.accepted_at),
                attributes={**_task_facts(task), "cloister.turn": turn.number, **_verdict_facts(status.verdict)},
            )
        if status.verdict in (Verdict.FAILED, Verdict.ERRORED):
            span.set_status(trace.StatusCode.ERROR, _reason(turn))
        span.end(nanoseconds(status.finished_at))

    def _parent_of_attempts(self, task: Task, turn: int) -> Context:
        """Return the context of a turn's span, whoever tells that in the end."""
        trace_id = int(task.trace_id, 16)
        decision = self._provider.sampler.should_sample(_outer_context(task), trace_id, "task").decision
        flags = _SAMPLED if decision is Decision.RECORD_AND_SAMPLE else _NOT_SAMPLED
        span_id = int(_turn_span(task, turn), 16)
        of_turn = SpanContext(trace_id=trace_id, span_id=span_id, is_remote=True, trace_flags=flags)
        return trace.set_span_in_context(NonRecordingSpan(of_turn), Context())

    def _start_below(self, context: Context) -> "Callable[..., Span]":
        def start(name: str, **options: object) -> Span:
            return self._tracer.start_span(name, **{"context": context, **options})  # type: ignore[arg-type]  # what the SDK takes

        return start


def nanoseconds(at: datetime) -> int:
    """Return a time as spans want it."""
    return int(at.timestamp() * 1e9)


def _outer_context(task: Task) -> Context:
    """Return the context of who asked for the task; an empty one when nobody said."""
    parent = task.trace_parent
    if parent is None:
        return Context()
    flags = _SAMPLED if parent.sampled else _NOT_SAMPLED
    asked = SpanContext(
        trace_id=int(parent.trace_id, 16), span_id=int(parent.span_id, 16), is_remote=True, trace_flags=flags
    )
    return trace.set_span_in_context(NonRecordingSpan(asked), Context())


def _turn_span(task: Task, turn: int) -> str:
    return span_id_of("turn", f"{task.id}/{turn}")


def _task_facts(task: Task) -> Mapping[str, str | int]:
    return {
        "cloister.task": task.id,
        "cloister.environment": task.environment.name,
        "gen_ai.agent.name": task.agent,
        "vcs.repository.url.full": task.repository.address,
        "vcs.ref.head.name": task.revision.ref,
        "vcs.ref.head.revision": task.revision.commit,
    }


def _attempt_facts(attempt: Attempt) -> Mapping[str, str | int]:
    return {
        "cloister.attempt": attempt.id,
        "cloister.attempt.number": attempt.number,
        "cloister.turn": attempt.turn,
        "cloister.attempt.retry": attempt.retry,
    }


def _verdict_facts(verdict: Verdict | None) -> Mapping[str, str]:
    return {"cloister.verdict": str(verdict)} if verdict else {}


def _reason(turn: Turn) -> str:
    outcomes = [attempt.outcome for attempt in turn.attempts if attempt.outcome]
    return outcomes[0].reason if outcomes else ""


def _conforms(tracer: TaskTracer) -> QueueWatcher:
    return tracer
