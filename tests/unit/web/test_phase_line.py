"""The five phases as a line, folded from events."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cloister.model.environment import Environment, NetworkRecipe
from cloister.model.event import (
    AttemptFinished,
    AttemptStarted,
    CheckFinished,
    EgressAllowed,
    EgressRefused,
    Event,
    PhaseFinished,
    PhaseStarted,
    PolicyApplied,
    RecordedEvent,
    SecretRemoved,
    SnapshotHit,
    SnapshotMissed,
)
from cloister.model.network import NetworkMode
from cloister.model.phase import Phase
from cloister.model.secret import SecretMode, SecretUse
from cloister.model.task import AttemptId, TaskId, Verdict
from cloister.web.phase_line import PhaseState, PhaseView, Presence, phase_line

ENVIRONMENT = Environment(
    name="web",
    variables={"A": "1"},
    secrets=(SecretUse(name="NPM_TOKEN", mode=SecretMode.SETUP), SecretUse(name="PAT", mode=SecretMode.BROKERED)),
    network=NetworkRecipe(agent=NetworkMode.LIMITED, allow=("example.com", "example.org")),
)


def _line(*told: tuple[Phase | None, Event]) -> Sequence[PhaseView]:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    events = [
        RecordedEvent(seq=number, at=at, task=TaskId("t"), attempt=AttemptId("t-1-1"), phase=phase, event=event)
        for number, (phase, event) in enumerate(told, 1)
    ]
    return phase_line(ENVIRONMENT, events)


def _ran(
    phase: Phase, *events: Event, network: str = "off", secrets: tuple[str, ...] = ()
) -> list[tuple[Phase, Event]]:
    around = (PhaseStarted(network=network, secrets=secrets), *events, PhaseFinished(seconds=1.5))
    return [(phase, event) for event in around]


def test_before_anything_happened_it_says_what_will_be() -> None:
    provision, setup, agent, output, teardown = _line()
    assert {view.state for view in (provision, setup, agent, output, teardown)} == {PhaseState.WAITING}
    assert [view.network for view in _line()] == ["off", "full", "limited", "off", "off"]
    assert agent.domains == 2
    assert [view.variables for view in _line()] == [(), ("A",), ("A",), (), ()]
    assert setup.secrets == {"NPM_TOKEN": Presence.EXPECTED, "PAT": Presence.PROXY}
    assert agent.secrets == {"PAT": Presence.PROXY}


def test_what_was_there_is_told_and_what_is_gone() -> None:
    line = _line(
        *_ran(Phase.PROVISION, SnapshotMissed(key="k", reason="first use")),
        *_ran(Phase.SETUP, PolicyApplied(mode="full", allow=(), deny=(), methods=None, ports=(443,), audit="decisions"),
              SecretRemoved(names=("NPM_TOKEN",)), network="full", secrets=("NPM_TOKEN",)),
        (Phase.AGENT, PhaseStarted(network="limited", brokered=("PAT",))),
        (Phase.AGENT, EgressAllowed(host="example.com", port=443, method="GET", rule="r")),
        (Phase.AGENT, EgressRefused(host="evil.example", port=443, method="GET", rule="r", hint="h")),
    )  # fmt: skip
    provision, setup, agent, output, _ = line
    assert (provision.state, provision.seconds) == (PhaseState.DONE, 1.5)
    assert provision.notes == [("no snapshot: first use", "yellow")]
    assert (setup.network, setup.secrets) == ("full", {"NPM_TOKEN": Presence.REMOVED})
    assert agent.state is PhaseState.RUNNING
    assert agent.secrets == {"NPM_TOKEN": Presence.REMOVED, "PAT": Presence.PROXY}
    assert (agent.allowed, agent.refused) == (1, 1)
    assert output.state is PhaseState.WAITING


def test_a_phase_that_failed_is_seen_and_what_came_not_to_be() -> None:
    failed = AttemptFinished(verdict=Verdict.FAILED, reason="the setup script ended with status 1")
    ran = [*_ran(Phase.PROVISION, SnapshotHit(key="k")), *_ran(Phase.SETUP), *_ran(Phase.TEARDOWN)]
    line = _line(*ran, (None, failed))
    states = [view.state for view in line]
    assert states == [PhaseState.DONE, PhaseState.FAILED, PhaseState.SKIPPED, PhaseState.SKIPPED, PhaseState.DONE]
    assert line[2].secrets == {}


def test_setup_is_not_needed_by_an_agent_that_goes_on() -> None:
    running = _line(*_ran(Phase.PROVISION), (Phase.AGENT, PhaseStarted(network="off")))
    assert (running[1].state, running[1].secrets) == (PhaseState.NEEDLESS, {})
    set_up = _line(*_ran(Phase.SETUP), (Phase.AGENT, PhaseStarted(network="off")))
    assert set_up[1].state is PhaseState.DONE


def test_a_check_that_failed_is_the_outputs_doing() -> None:
    check = CheckFinished(
        name="c", ok=False, status=1, reason="it ended with status 1", seconds=1, flaky=False, notes=()
    )
    done = AttemptFinished(verdict=Verdict.SUCCEEDED, reason="")
    line = _line(*_ran(Phase.AGENT), *_ran(Phase.OUTPUT, check), (None, done))
    assert [line[2].state, line[3].state] == [PhaseState.DONE, PhaseState.FAILED]


def test_a_retry_begins_anew() -> None:
    line = _line(*_ran(Phase.PROVISION), (None, AttemptStarted(retry=1)))
    assert {view.state for view in line} == {PhaseState.WAITING}
