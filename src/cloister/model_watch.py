"""Watches the calls of one attempt's agent: adds up what they use, and says when the agent has to be stopped."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import anyio

from cloister.calls_under_way import CallsUnderWay
from cloister.journal import Journal
from cloister.model.environment import Limits
from cloister.model.event import ModelCallFailed, RecordedEvent, Usage
from cloister.model.model_door import ModelCall
from cloister.model.model_usage import TokenUsage, UsageTotal
from cloister.model.network import EgressTold
from cloister.model.task import Outcome, Verdict
from cloister.model_roster import OpenModel

MOST_FAILURES = 50
"""Calls of a provider that fail one after the other, with none in between that is answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why an agent has to end."""

    verdict: Verdict
    reason: str
    hint: str = ""


class ModelWatch:
    """Of one attempt. It hears what the egress process tells, and passes all of it on to the journal."""

    def __init__(
        self, model: OpenModel | None, limits: Limits, journal: Journal, *, told: Iterable[RecordedEvent] = ()
    ) -> None:
        """`told` is what a former worker has recorded: it counts too."""
        self._model = model
        self._limits = limits
        self._journal = journal
        self._failures = 0
        self._last_fault: ModelCall | ModelCallFailed | None = None
        self.total = UsageTotal()
        self.stop: Stop | None = None
        self.calls = CallsUnderWay()
        self.stopped = anyio.Event()
        """Set when the agent has to be stopped."""
        for recorded in told:
            self._remember(recorded)

    def hear(self, told: EgressTold) -> None:
        """Take in what the egress process tells."""
        self.calls.hear(told)
        if not isinstance(told, ModelCall):
            self._journal.record_egress(told)
            return
        cost = self._cost(told)
        self._journal.record_call(told, cost)
        if told.usage is not None:
            self._add(told.usage, cost, model=told.model, estimated=told.estimated)
        self._judge(told)

    def explain(self, outcome: Outcome) -> Outcome:
        """Return the outcome with what was used, and where the model was to blame, with that as its reason."""
        outcome = replace(outcome, usage=self.total if self.total.calls else None)
        if self.stop is not None:
            return replace(outcome, verdict=self.stop.verdict, reason=self.stop.reason, hint=self.stop.hint)
        fault = self._last_fault
        is_failed = outcome.verdict is Verdict.FAILED and outcome.exit_status not in (0, None)
        did_nothing = outcome.verdict is Verdict.SUCCEEDED and outcome.reason  # some end with 0 all the same
        if fault is not None and (is_failed or did_nothing):
            reason = f"{outcome.reason}; the last call of its model failed: {_fault_to_text(fault)}"
            return replace(outcome, reason=reason)
        return outcome

    def _remember(self, recorded: RecordedEvent) -> None:
        match recorded.event:
            case Usage(source="proxy") as used:
                usage = TokenUsage(
                    input_tokens=used.input_tokens,
                    cached_tokens=used.cached_input_tokens,
                    cache_written_tokens=used.cache_written_tokens,
                    output_tokens=used.output_tokens,
                )
                self._add(usage, used.cost, model=used.model or "", estimated=used.estimated)
            case ModelCallFailed(key_refused=True) as failed:
                self._stop(_key_refused(failed.provider, failed.status, failed.reason))

    def _add(self, usage: TokenUsage, cost: float | None, *, model: str, estimated: bool) -> None:
        self.total = self.total.plus(usage, cost, estimated=estimated)
        limits = self._limits
        if limits.tokens is not None and self.total.usage.tokens > limits.tokens:
            used = f"it used {self.total.usage.tokens} tokens"
            self._stop(_over_budget(f"{used}, and limits.tokens is {limits.tokens}", "tokens"))
        if limits.cost is None:
            return
        if cost is None:
            what = f"the settings have no price of {model or 'the model that answered'}, and limits.cost is set"
            self._stop(Stop(verdict=Verdict.FAILED, reason=f"the agent was stopped: {what}", hint=_ADD_PRICE))
        elif self.total.cost is not None and self.total.cost > limits.cost:
            self._stop(_over_budget(f"it used ${self.total.cost:.4f}, and limits.cost is {limits.cost:g}", "cost"))

    def _judge(self, call: ModelCall) -> None:
        if not call.fault:
            self._failures, self._last_fault = 0, None
            return
        self._failures += 1
        self._last_fault = replace(call, fault=self._journal.mask_text(call.fault))
        if call.key_refused:
            self._stop(_key_refused(call.provider, call.status, self._last_fault.fault))
        elif self._failures >= MOST_FAILURES:
            reason = (
                f"{self._failures} calls of its model failed in a row, the last one: {_fault_to_text(self._last_fault)}"
            )
            self._stop(Stop(verdict=Verdict.ERRORED, reason=f"the agent was stopped: {reason}"))

    def _cost(self, call: ModelCall) -> float | None:
        if self._model is None:
            return None
        name = call.model or self._model.access.model or ""  # an answer that was cut may not have said it
        price = self._model.provider.price_of(name)
        return price.cost(call.usage) if price is not None and call.usage is not None else None

    def _stop(self, stop: Stop) -> None:
        if self.stop is None:
            self.stop = stop
            self.stopped.set()


_ADD_PRICE = "add it to the provider's prices in Cloister's settings"


def _over_budget(what: str, limit: str) -> Stop:
    hint = f"raise limits.{limit} in the environment file, or ask for less"
    return Stop(verdict=Verdict.FAILED, reason=f"the agent was stopped: {what}", hint=hint)


def _key_refused(provider: str, status: int, words: str) -> Stop:
    return Stop(
        verdict=Verdict.ERRORED,
        reason=f"the provider {provider} did not take its key (status {status}): {words}",
        hint=f"look where its key is: cloister model list; give it another: cloister model set-key {provider}",
    )


def _fault_to_text(fault: ModelCall | ModelCallFailed) -> str:
    words = fault.fault if isinstance(fault, ModelCall) else fault.reason
    status = f" answered with status {fault.status}" if fault.status >= 400 else ""
    return f"{fault.provider}{status}: {words}"
