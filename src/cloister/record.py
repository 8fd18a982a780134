"""The record of an attempt: an in-toto statement of what was asked, allowed, found and made.

It holds names, digests and masked texts: no value of a secret, no variable's value, and nothing that was printed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

from cloister.egress_log import egress_entries, entry_to_fields, entry_to_line
from cloister.errors import SignatureError
from cloister.model.ceiling import Ceiling
from cloister.model.check import state_of
from cloister.model.event import (
    CatchingMissed,
    CheckFinished,
    DiffCollected,
    Event,
    FinalDiskMissed,
    FinalDiskResumed,
    InstructionsRestored,
    PersonEntered,
    PhaseStarted,
    PolicyApplied,
    RecordedEvent,
    ResidueFound,
    SandboxProvisioned,
    SetupPlanned,
    SnapshotDigested,
    SnapshotHit,
    SnapshotMissed,
    SnapshotSaved,
    event_to_fields,
)
from cloister.model.phase import Phase
from cloister.model.sandbox import Change
from cloister.model.task import Attempt, Continuation, Outcome, Task

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:cloister:record:v1"

MOST_DECISIONS = 100
"""Of the network that a record holds itself; of more it holds their number and digest."""

Fields = dict[str, object]
T = TypeVar("T", bound=Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Who made a record, as far as an attempt depends on it."""

    versions: Mapping[str, str]
    """Of the programs that matter, by name."""
    ceiling: Ceiling
    """What the operator lets any environment reach."""


def make_statement(
    attempt: Attempt, outcome: Outcome, told: Sequence[RecordedEvent], maker: Maker, at: datetime
) -> bytes:
    """Return the statement as JSON: ASCII, and the same for the same facts. `told` is the attempt's log."""
    task = attempt.task
    events = [recorded.event for recorded in told]
    sandbox = _first(events, SandboxProvisioned)
    predicate: Fields = {
        "at": at.isoformat(),
        "task": _of_task(task),
        "attempt": {"id": attempt.id, "turn": attempt.turn, "number": attempt.number, "retry": attempt.retry},
        "continues": _of_continuation(attempt.continues, events),
        "repository": {"address": task.repository.address, **asdict(task.revision)},
        "environment": _of_environment(task, sandbox, events),
        "snapshot": _of_snapshot(events),
        "policies": _of_policies(told),
        "ceiling": asdict(maker.ceiling),
        "egress": _of_egress(told),
        "secrets": _of_secrets(told),
        "residue": [event_to_fields(event) for event in events if isinstance(event, ResidueFound)],
        "instructions_restored": [
            {"paths": event.paths, "more": event.more, "diff": _digest(event.diff), "left": event.left}
            for event in events
            if isinstance(event, InstructionsRestored)
        ],
        "people": [{"shell": event.shell} for event in events if isinstance(event, PersonEntered)],
        "change": _of_change(outcome.change, events),
        "checks": _of_checks(outcome, events),
        "outcome": _of_outcome(outcome),
        "versions": {**maker.versions, **({"runtime": sandbox.runtime} if sandbox else {})},
        "not_enforced": _not_enforced(sandbox, events),
    }
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": _subject(task, outcome.change),
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()


def read_statement(payload: bytes) -> Mapping[str, object]:
    """Return the statement that `make_statement` wrote. SignatureError when it is another one."""
    try:
        statement = json.loads(payload)
        types = statement["_type"], statement["predicateType"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SignatureError("what was signed is no record, but something else") from error
    if types != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise SignatureError(f"what was signed is no record, but a statement of the kind {types[1]!r}")
    checked: Mapping[str, object] = statement
    return checked


def summary_of(statement: Mapping[str, object]) -> str:
    """Return `attempt 1 of task 0g2x, succeeded, diff sha256 3f2a...`."""
    said: Mapping[str, Any] = statement["predicate"]  # type: ignore[assignment]
    change = f", diff sha256 {said['change']['sha256']}" if said["change"] else ", without a change"
    return f"attempt {said['attempt']['number']} of task {said['task']['id']}, {said['outcome']['verdict']}{change}"


def _subject(task: Task, change: Change | None) -> list[Fields]:
    """What the statement is about: the change, or where none could be collected the commit that it began at."""
    if change is None:
        return [{"name": "base", "digest": {"gitCommit": task.revision.commit}}]
    return [
        {"name": "diff", "digest": {"sha256": sha256(change.diff).hexdigest()}},
        {"name": "commit", "digest": {"gitCommit": change.commit}},
    ]


def _of_task(task: Task) -> Fields:
    return {
        "id": task.id,
        "accepted_at": task.accepted_at.isoformat(),
        "agent": task.agent,
        "prompt": _digest(task.prompt),
        "command": _digest(task.command),
        "patch": {"sha256": sha256(task.patch).hexdigest()} if task.patch else None,
        "shell": task.shell.phase if task.shell else None,
        "use_cache": task.use_cache,
        "ask": task.ask,
        "files": [asdict(file) for file in task.files],
        "attempts": task.attempts,
        "trace": task.trace_id,
    }


def _of_continuation(continues: Continuation | None, events: Sequence[Event]) -> Fields | None:
    """What a later turn was given: which attempt's disk, or else its change on a snapshot or the image, and why."""
    if continues is None:
        return None
    resumed, missed = _first(events, FinalDiskResumed), _first(events, FinalDiskMissed)
    return {
        "attempt": continues.attempt,
        "accepted_at": continues.accepted_at.isoformat(),
        "prompt": _digest(continues.prompt),
        "conversation": _digest(json.dumps([asdict(exchange) for exchange in continues.conversation])),
        "diff": {"sha256": sha256(continues.diff).hexdigest()},
        "disk": {"key": resumed.key} if resumed else None,
        "reason": missed.reason if missed else None,
    }


def _of_environment(task: Task, sandbox: SandboxProvisioned | None, events: Sequence[Event]) -> Fields:
    environment = task.environment
    planned = _first(events, SetupPlanned)
    return {
        "name": environment.name,
        "source": asdict(task.environment_source) if task.environment_source else None,
        "image": {"name": environment.image, "sha256": sandbox.image_digest if sandbox else None},
        "versions": planned.versions if planned else (),
        "variables": {
            "names": sorted(environment.variables),
            "values": _digest(json.dumps(dict(environment.variables), sort_keys=True)),
        },
        "setup": {"sha256": sandbox.setup} if sandbox and sandbox.setup else None,
        "maintenance": {"sha256": sandbox.maintenance} if sandbox and sandbox.maintenance else None,
        "catch_up": {"sha256": sandbox.catch_up} if sandbox and sandbox.catch_up else None,
        "residue": environment.setup.residue,
        "services": [service.name for service in environment.services],
        "limits": asdict(environment.limits),
    }


def _of_snapshot(events: Sequence[Event]) -> Fields | None:
    """Of the disk that the sandbox was made from: what was said last before it was there."""
    chosen: SnapshotHit | SnapshotMissed | None = None
    for event in events:
        if isinstance(event, SnapshotHit | SnapshotMissed):
            chosen = event
        elif isinstance(event, SandboxProvisioned) and chosen is not None:
            break
    if chosen is None:
        return None
    return {
        "key": chosen.key,
        "hit": isinstance(chosen, SnapshotHit),
        "ref": chosen.ref if isinstance(chosen, SnapshotHit) else None,
        "reason": chosen.reason if isinstance(chosen, SnapshotMissed) else None,
        "saved": any(isinstance(event, SnapshotSaved) for event in events),
        "stands_on": _of_disk(events),
    }


def _of_disk(events: Sequence[Event]) -> Fields | None:
    """Of the kept disk that the agent's sandbox stood on. Its digest is null when it was not computed by then."""
    disk: Fields | None = None
    for event in events:
        match event:
            case SnapshotHit() | SnapshotSaved():
                disk = {"key": event.key, "sha256": None}
            case SnapshotDigested():
                disk = {"key": event.key, "sha256": event.digest}
            case _:
                pass
    return disk


def _of_policies(told: Sequence[RecordedEvent]) -> list[Fields]:
    """In the order in which they were put in force. Where there is none of a phase, it had no network."""
    return [
        {"phase": recorded.phase, **event_to_fields(recorded.event)}
        for recorded in told
        if isinstance(recorded.event, PolicyApplied)
    ]


def _of_egress(told: Sequence[RecordedEvent]) -> Fields:
    """The decisions; `cloister egress log T --attempt N --json` prints the lines that the digest is of."""
    entries = egress_entries(told)
    digest = sha256()
    for entry in entries:
        digest.update(f"{entry_to_line(entry)}\n".encode())
    allowed = sum(entry.allowed for entry in entries)
    return {
        "allowed": allowed,
        "refused": len(entries) - allowed,
        "sha256": digest.hexdigest(),
        "decisions": [entry_to_fields(entry) for entry in entries] if len(entries) <= MOST_DECISIONS else None,
    }


def _of_secrets(told: Sequence[RecordedEvent]) -> Fields:
    phases: dict[Phase, tuple[set[str], set[str]]] = {}
    for recorded in told:
        event, phase = recorded.event, recorded.phase
        if isinstance(event, PhaseStarted) and phase and (event.secrets or event.brokered):
            present, brokered = phases.setdefault(phase, (set(), set()))
            present.update(event.secrets)
            brokered.update(event.brokered)
    return {
        str(phase): {"present": sorted(these), "brokered": sorted(those)} for phase, (these, those) in phases.items()
    }


def _of_change(change: Change | None, events: Sequence[Event]) -> Fields | None:
    if change is None:
        return None
    collected = [event for event in events if isinstance(event, DiffCollected)]
    return {
        "base": change.base,
        "commit": change.commit,
        "sha256": sha256(change.diff).hexdigest(),
        "bytes": len(change.diff),
        **asdict(change.stats),
        "flags": collected[-1].flags if collected else (),  # as they were told: masked
    }


def _of_checks(outcome: Outcome, events: Sequence[Event]) -> Fields:
    """Of the last change, and of every round. What was told twice, because its worker died, is there once."""
    results = [{key: value for key, value in asdict(it).items() if key != "last_words"} for it in outcome.checks]
    rounds: dict[int, dict[str, Fields]] = {}
    for event in events:
        if isinstance(event, CheckFinished):
            told = {key: value for key, value in event_to_fields(event).items() if key != "round"}
            rounds.setdefault(event.round, {})[event.name] = told
    return {
        "state": state_of(outcome.checks),
        "results": results,
        "rounds": [list(of_round.values()) for _, of_round in sorted(rounds.items())],
    }


def _of_outcome(outcome: Outcome) -> Fields:
    return {
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "exit_status": outcome.exit_status,
        "message": _digest(outcome.message),
        "usage": asdict(outcome.usage) if outcome.usage else None,
        "artifacts": [asdict(artifact) for artifact in outcome.artifacts],
        "seconds": {str(phase): seconds for phase, seconds in outcome.seconds.items()},
        "accepted_to_agent_seconds": outcome.accepted_to_agent_seconds,
    }


def _not_enforced(sandbox: SandboxProvisioned | None, events: Iterable[Event]) -> list[str]:
    """What this host cannot do, and so did not hold in this attempt."""
    missed = any(isinstance(event, CatchingMissed) for event in events)
    catching = ["programs that ignore the proxy are not led to it: they reach nothing"] if missed else []
    return [*(sandbox.not_enforced if sandbox else ()), *catching]


def _first(events: Iterable[Event], kind: type[T]) -> T | None:
    return next((event for event in events if isinstance(event, kind)), None)


def _digest(text: str | None) -> Fields | None:
    return None if text is None else {"sha256": sha256(text.encode(errors="surrogatepass")).hexdigest()}
