"""The spans of one attempt, made of what its phases tell."""

import time
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from cloister.model.event import (
    AgentEvent,
    AgentEventKind,
    CheckFinished,
    EgressAllowed,
    EgressRefused,
    Event,
    FinalDiskMissed,
    FinalDiskResumed,
    ModelCallFailed,
    PhaseFinished,
    PhaseStarted,
    ServiceReady,
    SetupStepFinished,
    SnapshotHit,
    SnapshotMissed,
    Usage,
)
from cloister.model.phase import Phase
from cloister.model.task import Outcome, Verdict

Facts = dict[str, str | int | float]
Start = Callable[..., Span]
"""Starts a span below another, unless a `context` says otherwise."""

_MOST_CALLS = 1000
_LONGEST_TEXT = 1000


class AttemptSpans:
    """Opens and ends them. Nothing of it fails, whatever order events come in."""

    def __init__(self, span: Span, start: Start) -> None:
        self._span = span
        self._start = start
        self._phase: Span | None = None
        self._phase_begun = self._steps_end = 0
        self._commands: dict[int, Span] = {}
        self._calls: dict[int, int] = {}

    def told(self, phase: Phase | None, event: Event) -> None:
        """Make of an event what it is in a trace."""
        match event:
            case PhaseStarted():
                self._begin_phase(phase, event)
            case PhaseFinished(seconds=seconds):
                # What is told of a short phase arrives together: how long it took is its own word.
                self._end_phase(self._phase_begun + int(seconds * 1e9))
            case SnapshotHit() | SnapshotMissed() | FinalDiskResumed() | FinalDiskMissed():
                self._tell_disk(event)
            case SetupStepFinished(seconds=seconds):
                # Told in order, some late and together: only how long each took is known.
                begun = self._steps_end
                self._steps_end += int((seconds or 0.0) * 1e9)
                facts: Facts = {"cloister.setup.tool": event.tool, "cloister.setup.folder": event.folder}
                self._step(f"setup {event.tool}", begun, self._steps_end, facts, None if event.ok else "failed")
            case CheckFinished(seconds=seconds):
                facts = {"cloister.check": event.name, "process.exit.code": event.status, "cloister.round": event.round}
                self._before_now("check", seconds, facts, None if event.ok else event.reason or "failed")
            case ServiceReady(seconds=seconds):
                self._before_now("service", seconds, {"cloister.service": event.service}, None)
            case AgentEvent():
                self._tell_agent(event)
            case EgressAllowed(flow=flow):
                self._calls[flow] = time.time_ns()
                if len(self._calls) > _MOST_CALLS:
                    self._calls.pop(next(iter(self._calls)))
            case EgressRefused():
                facts = {"server.address": event.host, "server.port": event.port, "cloister.egress.rule": event.rule}
                self._here.add_event("egress refused", facts)
            case Usage(source="proxy"):
                self._tell_call(event)
            case ModelCallFailed():
                self._tell_failed_call(event)

    def finished(self, outcome: Outcome) -> None:
        """End the attempt's span, and what is still open below it."""
        self._end_phase()
        self._span.set_attribute("cloister.verdict", str(outcome.verdict))
        if outcome.usage is not None:
            self._span.set_attribute("gen_ai.usage.input_tokens", outcome.usage.usage.input_tokens)
            self._span.set_attribute("gen_ai.usage.output_tokens", outcome.usage.usage.output_tokens)
        if outcome.verdict in (Verdict.FAILED, Verdict.ERRORED):
            self._span.set_attribute("error.type", str(outcome.verdict))
            self._span.set_status(StatusCode.ERROR, outcome.reason)
        self._span.end()

    def left(self) -> None:
        """End them although the attempt is not over: this worker was stopped, and another one takes it over."""
        self._end_phase()
        self._span.add_event("the worker was stopped")
        self._span.end()

    @property
    def _here(self) -> Span:
        return self._phase or self._span

    def _begin_phase(self, phase: Phase | None, event: PhaseStarted) -> None:
        self._end_phase()
        facts = {"cloister.phase": str(phase), "cloister.network": event.network}
        self._phase = self._start(str(phase), attributes=facts)
        self._phase_begun = self._steps_end = time.time_ns()

    def _end_phase(self, at: int | None = None) -> None:
        for command in self._commands.values():
            command.end()
        self._commands.clear()
        if self._phase is not None:
            self._phase.end(at)
            self._phase = None

    def _tell_disk(self, event: SnapshotHit | SnapshotMissed | FinalDiskResumed | FinalDiskMissed) -> None:
        hit = isinstance(event, SnapshotHit | FinalDiskResumed)
        self._span.set_attribute("cloister.snapshot.hit", hit)
        reason = event.reason if isinstance(event, SnapshotMissed | FinalDiskMissed) else ""
        facts = {"cloister.snapshot.key": "" if isinstance(event, FinalDiskMissed) else event.key}
        self._here.add_event("snapshot hit" if hit else "snapshot missed", {**facts, "cloister.reason": reason})

    def _tell_agent(self, event: AgentEvent) -> None:
        number = event.number
        if number is None:
            return
        if event.kind is AgentEventKind.COMMAND_STARTED:
            facts = {"cloister.command": number, "process.command_line": (event.command_line or "")[:_LONGEST_TEXT]}
            self._commands[number] = self._begin("command", attributes=facts)
        elif event.kind is AgentEventKind.COMMAND_FINISHED and (span := self._commands.pop(number, None)):
            if event.status is not None:
                span.set_attribute("process.exit.code", event.status)
            span.end()

    def _tell_call(self, usage: Usage) -> None:
        facts: Facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": usage.provider or "",
            "gen_ai.request.model": usage.model or "",
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_input_tokens,
        }
        if usage.cost is not None:
            facts["cloister.cost"] = usage.cost
        self._call(f"chat {usage.model}".removesuffix(" None"), usage.flow, facts, None)

    def _tell_failed_call(self, call: ModelCallFailed) -> None:
        facts: Facts = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": call.provider,
            "http.response.status_code": call.status,
            "error.type": str(call.status or "no answer"),
        }
        self._call("chat", call.flow, facts, call.reason or "no answer")

    def _call(self, name: str, flow: int, facts: Facts, failure: str | None) -> None:
        begun = self._calls.get(flow, time.time_ns())
        span = self._begin(name, start_time=begun, attributes=facts, kind=SpanKind.CLIENT)
        if failure is not None:
            span.set_status(StatusCode.ERROR, failure)
        span.end()

    def _before_now(self, name: str, seconds: float, facts: Facts, failure: str | None) -> None:
        now = time.time_ns()
        self._step(name, now - int(seconds * 1e9), now, facts, failure)

    def _step(self, name: str, begun: int, ended: int, facts: Facts, failure: str | None) -> None:
        span = self._begin(name, start_time=begun, attributes=facts)
        if failure is not None:
            span.set_status(StatusCode.ERROR, failure)
        span.end(ended)

    def _begin(self, name: str, **options: object) -> Span:
        """Start a span below the phase that runs."""
        if self._phase is not None:
            options["context"] = trace.set_span_in_context(self._phase)
        return self._start(name, **options)
