"""Counts what the egress process reports, beside whoever else listens to it."""

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from cloister.model.model_door import ModelCall
from cloister.model.network import EgressLost, EgressRecord, EgressTold, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName
from cloister.model.secret import Grant
from cloister.protocols import Egress, FindAsker, Listeners

Report = Callable[[EgressTold], None]

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Seconds. Those that OpenTelemetry advises for requests, and longer ones: a tunnel may stay open for hours."""


class EgressCounters:
    """The instruments. Names and units are as OpenTelemetry's conventions for metrics want them.

    A label has a handful of values and no more: each new value is a series that is kept for ever. A host, path,
    command or task is chosen by what runs in a sandbox, which could fill the memory of whoever collects them, and
    tell it what it must not know. Those are in `cloister egress log`.
    """

    def __init__(self, meter: Meter) -> None:
        self._open: dict[SandboxName, set[int]] = {}
        self._decisions = meter.create_counter(
            "cloister.egress.decisions", unit="{decision}", description="Requests and tunnels that were judged."
        )
        self._bytes = meter.create_counter(
            "cloister.egress.io", unit="By", description="Carried by what was let out, counted when it is over."
        )
        self._durations = meter.create_histogram(
            "cloister.egress.flow.duration",
            unit="s",
            description="From when a request or tunnel was let out until it was over.",
            explicit_bucket_boundaries_advisory=DURATION_BUCKETS,
        )
        meter.create_observable_up_down_counter(
            "cloister.egress.open_flows",
            callbacks=[self._observe_open],
            unit="{flow}",
            description="Requests and tunnels that were let out and are not over.",
        )

    def count(self, name: SandboxName, told: EgressTold, modes: dict[Phase, NetworkMode]) -> None:
        """Count one report. `modes` are those of the phases that the sandbox has been in."""
        if isinstance(told, EgressLost | ModelCall):  # the first: see `forget_all`; the other: see `tasks`
            return
        where = {"phase": str(told.phase), "mode": str(modes.get(told.phase, NetworkMode.OFF))}
        if isinstance(told, EgressRecord):
            verdict = "allowed" if told.decision.allowed else "refused"
            self._decisions.add(1, {"verdict": verdict, "rule": str(told.decision.kind), **where})
            if told.decision.allowed and told.flow:
                self._open.setdefault(name, set()).add(told.flow)
            return
        self._bytes.add(told.sent_bytes, {"direction": "sent", **where})
        self._bytes.add(told.received_bytes, {"direction": "received", **where})
        self._durations.record(told.seconds, where)
        self._open.get(name, set()).discard(told.flow)

    def forget(self, name: SandboxName) -> None:
        """Nothing of the sandbox is open any more, whether its ends were told or not."""
        self._open.pop(name, None)

    def forget_all(self) -> None:
        """Nothing is open any more: the egress process has ended, and told no ends."""
        self._open.clear()

    def _observe_open(self, _options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sum(len(flows) for flows in list(self._open.values())))]


class CountedEgress:
    """`protocols.Egress` that counts what another one reports."""

    def __init__(self, egress: Egress, counters: EgressCounters) -> None:
        self._egress = egress
        self._counters = counters
        self._modes: dict[SandboxName, dict[Phase, NetworkMode]] = {}

    async def open(
        self,
        name: SandboxName,
        listeners: Listeners,
        policy: NetworkPolicy,
        report: Report,
        grants: Sequence[Grant] = (),
        find_asker: FindAsker | None = None,
    ) -> None:
        """See `protocols.Egress`."""
        modes = self._modes.setdefault(name, {})
        modes[policy.phase] = policy.mode

        def count_and_report(told: EgressTold) -> None:
            self._counters.count(name, told, modes)
            report(told)

        await self._egress.open(name, listeners, policy, count_and_report, grants, find_asker)

    async def close(self, name: SandboxName) -> None:
        """See `protocols.Egress`."""
        try:
            await self._egress.close(name)
        finally:
            self._modes.pop(name, None)
            self._counters.forget(name)


def _conforms(egress: CountedEgress) -> Egress:
    return egress
