"""Counts what becomes of tasks: how many came, how long they waited and took, and what they used."""

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, Observation

from cloister.model.event import (
    CheckFinished,
    Event,
    ModelCallFailed,
    PhaseFinished,
    SnapshotHit,
    SnapshotMissed,
    Usage,
)
from cloister.model.phase import Phase
from cloister.model.task import Attempt, AttemptId, Outcome
from cloister.telemetry.watched_queue import QueueWatcher

SECONDS = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14400.0)
"""Of phases, attempts and waiting: from a warm start to the longest that limits usually allow."""


class TaskCounters:
    """The instruments. Labels have the values that `EgressCounters` says they may: a few, and none of a sandbox's."""

    def __init__(self, meter: Meter) -> None:
        self._started: dict[AttemptId, float] = {}
        self.depth: Mapping[str, int] = {}
        """Attempts that are not over, by state; kept up to date by who has the database."""
        self._accepted = meter.create_counter("cloister.turns", unit="{turn}", description="Prompts accepted.")
        self._finished = meter.create_counter("cloister.attempts", unit="{attempt}", description="Attempts over.")
        self._retries = meter.create_counter(
            "cloister.attempts.retries", unit="{attempt}", description="Attempts taken over from a worker that died."
        )
        self._waited = _histogram(meter, "cloister.queue.wait", "From when a prompt was accepted to when it was taken.")
        self._lasted = _histogram(meter, "cloister.attempt.duration", "From when it was taken until it was over.")
        self._phases = _histogram(meter, "cloister.phase.duration", "Phases of attempts.")
        self._snapshots = meter.create_counter(
            "cloister.snapshot.lookups", unit="{lookup}", description="Looks for a kept disk, at the start."
        )
        self._checks = meter.create_counter("cloister.checks", unit="{check}", description="Checks that ran.")
        self._tokens = meter.create_counter(
            "cloister.model.tokens", unit="{token}", description="Used by calls of models, as the proxy counted them."
        )
        self._cost = meter.create_counter(
            "cloister.model.cost", description="Of calls of models whose price is known, in the operator's currency."
        )
        self._failures = meter.create_counter(
            "cloister.model.failures", unit="{call}", description="Calls of models that were not answered."
        )
        meter.create_observable_up_down_counter(
            "cloister.queue.attempts",
            callbacks=[self._observe_depth],
            unit="{attempt}",
            description="Attempts that wait or run, of all servers and workers of the database.",
        )

    def accepted(self, attempts: int) -> None:
        """See `QueueWatcher`."""
        self._accepted.add(1)

    def claimed(self, attempt: Attempt) -> None:
        """See `QueueWatcher`. One that was taken over waited for nobody."""
        self._started[attempt.id] = time.monotonic()
        if attempt.retry:
            self._retries.add(1)
        else:
            self._waited.record(max((datetime.now(UTC) - attempt.accepted_at).total_seconds(), 0.0))

    def told(self, attempt: Attempt, phase: Phase | None, event: Event) -> None:
        """See `QueueWatcher`."""
        match event:
            case PhaseFinished(seconds=seconds):
                self._phases.record(seconds, {"phase": str(phase)})
            case SnapshotHit():
                self._snapshots.add(1, {"result": "hit"})
            case SnapshotMissed():
                self._snapshots.add(1, {"result": "missed"})
            case CheckFinished(ok=ok):
                self._checks.add(1, {"result": "passed" if ok else "failed"})
            case Usage(source="proxy"):
                self._count_usage(event)
            case ModelCallFailed(provider=provider):
                self._failures.add(1, {"provider": provider})

    async def finished(self, attempt: Attempt, outcome: Outcome) -> None:
        """See `QueueWatcher`."""
        verdict = {"verdict": str(outcome.verdict)}
        self._finished.add(1, verdict)
        if (started := self._started.pop(attempt.id, None)) is not None:
            self._lasted.record(time.monotonic() - started, verdict)

    def _count_usage(self, usage: Usage) -> None:
        provider = usage.provider or ""
        fresh = max(usage.input_tokens - usage.cached_input_tokens, 0)
        kinds = {"input": fresh, "cached": usage.cached_input_tokens, "output": usage.output_tokens}
        for kind, tokens in kinds.items():
            self._tokens.add(tokens, {"provider": provider, "type": kind})
        if usage.cost is not None:
            self._cost.add(usage.cost, {"provider": provider})

    def _observe_depth(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(count, {"state": state}) for state, count in self.depth.items()]


def _histogram(meter: Meter, name: str, description: str) -> Histogram:
    return meter.create_histogram(name, unit="s", description=description, explicit_bucket_boundaries_advisory=SECONDS)


def _conforms(counters: TaskCounters) -> QueueWatcher:
    return counters
