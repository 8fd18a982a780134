"""The five phases of an attempt as a line: the table of the design, alive. Folded from the attempt's events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.environment import Environment
from cloister.model.event import (
    AttemptFinished,
    AttemptStarted,
    CheckFinished,
    DiffCollected,
    EgressAllowed,
    EgressRefused,
    Event,
    FinalDiskKept,
    FinalDiskMissed,
    FinalDiskResumed,
    PhaseFinished,
    PhaseStarted,
    PolicyApplied,
    RecordedEvent,
    ResidueFound,
    SecretRemoved,
    ServiceReady,
    SnapshotAwaited,
    SnapshotHit,
    SnapshotMissed,
    SnapshotSaved,
)
from cloister.model.network import NetworkMode
from cloister.model.phase import Phase
from cloister.model.secret import SecretMode
from cloister.model.task import Verdict
from cloister.narration import check_lines, sentences, stats_to_text

_MODES = tuple(str(mode) for mode in (NetworkMode.OFF, NetworkMode.LIMITED, NetworkMode.FULL))
_WITH_VARIABLES = (Phase.SETUP, Phase.AGENT)
_TOLD = (FinalDiskKept, FinalDiskMissed, FinalDiskResumed, ResidueFound, ServiceReady, SnapshotAwaited, SnapshotSaved)


class PhaseState(StrEnum):
    """Where an attempt is with a phase."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "not reached"
    NEEDLESS = "not needed"


class Presence(StrEnum):
    """Where a secret is in a phase."""

    PRESENT = "present"
    PROXY = "in the proxy alone"
    REMOVED = "removed"
    EXPECTED = "will be present"


@dataclass(slots=True, kw_only=True)
class PhaseView:
    """What a phase had, or will have when it comes."""

    phase: Phase
    state: PhaseState = PhaseState.WAITING
    started_at: datetime | None = None
    seconds: float | None = None
    network: str = "off"
    """off, limited or full."""
    domains: int = 0
    """That the limited network allows."""
    variables: tuple[str, ...] = ()
    """Names."""
    secrets: dict[str, Presence] = field(default_factory=dict)
    model: str = ""
    allowed: int = 0
    refused: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)
    """What happened in it, in few words, each with its style."""


def phase_line(
    environment: Environment, events: Iterable[RecordedEvent], ceiling: Ceiling = UNBOUNDED
) -> tuple[PhaseView, ...]:
    """Return the five, in their order. `events` are those of one attempt, and tell of what the ceiling has left."""
    views = {phase: _expected(environment, phase) for phase in Phase}
    for phase, view in views.items():
        view.network = min(view.network, str(ceiling.highest(phase)), key=_MODES.index)
    for recorded in events:
        if isinstance(recorded.event, AttemptStarted) and recorded.event.retry:
            views = {phase: _expected(environment, phase) for phase in Phase}
        elif isinstance(recorded.event, AttemptFinished):
            _end(views, recorded.event)
        elif recorded.phase is not None:
            _add(views[recorded.phase], recorded, recorded.event)
            if isinstance(recorded.event, PhaseStarted) and recorded.phase is Phase.AGENT:
                _pass_over(views[Phase.SETUP])
            if isinstance(recorded.event, SecretRemoved):
                _remove(views, recorded.phase, recorded.event)
    return tuple(views.values())


def _pass_over(setup: PhaseView) -> None:
    """An agent that starts without a setup found the disk of another attempt: none comes any more."""
    if setup.state is PhaseState.WAITING:
        setup.state, setup.secrets = PhaseState.NEEDLESS, {}


def _expected(environment: Environment, phase: Phase) -> PhaseView:
    policy = environment.policy(phase)
    view = PhaseView(phase=phase, network=str(policy.mode), domains=len(policy.allow))
    if phase in _WITH_VARIABLES:
        view.variables = tuple(environment.variables)
        for use in environment.secrets:
            if use.mode is SecretMode.BROKERED:
                view.secrets[use.name] = Presence.PROXY
            elif phase is Phase.SETUP:
                view.secrets[use.name] = Presence.EXPECTED
    return view


def _add(view: PhaseView, recorded: RecordedEvent, event: Event) -> None:
    match event:
        case PhaseStarted():
            view.state, view.started_at, view.network = PhaseState.RUNNING, recorded.at, event.network
            view.secrets = {
                **{name: where for name, where in view.secrets.items() if where is Presence.REMOVED},
                **dict.fromkeys(event.secrets, Presence.PRESENT),
                **dict.fromkeys(event.brokered, Presence.PROXY),
            }
            view.model = event.model or ""
        case PhaseFinished():
            view.state, view.seconds = PhaseState.DONE, event.seconds
        case PolicyApplied():
            view.network, view.domains = event.mode, len(event.allow)
        case EgressAllowed():
            view.allowed += 1
        case EgressRefused():
            view.refused += 1
        case _:
            view.notes += _notes(event)
            if isinstance(event, CheckFinished) and not event.ok:
                view.state = PhaseState.FAILED
    if isinstance(event, PhaseFinished) and any(style == "red" for _, style in view.notes):
        view.state = PhaseState.FAILED


def _notes(event: Event) -> list[tuple[str, str]]:
    match event:
        case SnapshotHit():
            return [("snapshot hit", "green")]
        case SnapshotMissed():
            return [(f"no snapshot: {event.reason}", "yellow")]
        case DiffCollected():
            return [(stats_to_text(event.files, event.added, event.removed), "")]
        case CheckFinished():
            return check_lines(event)[:1]
    return [(text.strip(), style) for text, style in sentences(event)] if isinstance(event, _TOLD) else []


def _remove(views: Mapping[Phase, PhaseView], phase: Phase, event: SecretRemoved) -> None:
    """A secret that was in setup is shown as gone where it was, and where somebody may look for it."""
    for view in (views[phase], views[Phase.AGENT]):
        for name in event.names:
            if view.secrets.get(name) is not Presence.PROXY:
                view.secrets[name] = Presence.REMOVED


def _end(views: Mapping[Phase, PhaseView], event: AttemptFinished) -> None:
    reached = [view for view in views.values() if view.state is not PhaseState.WAITING]
    for view in views.values():
        if view.state is PhaseState.WAITING:
            view.state, view.secrets, view.notes = PhaseState.SKIPPED, {}, []
        elif view.state is PhaseState.RUNNING:
            view.state = PhaseState.DONE
    at_work = [view for view in reached if view.phase in (Phase.PROVISION, Phase.SETUP, Phase.AGENT)]
    if event.verdict in (Verdict.FAILED, Verdict.ERRORED) and at_work:
        failed = any(view.state is PhaseState.FAILED for view in reached)
        if not failed:
            at_work[-1].state = PhaseState.FAILED
