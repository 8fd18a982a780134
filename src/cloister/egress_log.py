"""What a task asked of the network, one entry per decision, from its events."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from cloister.model.event import EgressAllowed, EgressFinished, EgressRefused, RecordedEvent
from cloister.model.phase import Phase
from cloister.model.task import AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressEntry:
    """One decision, and what came of it."""

    at: datetime
    attempt: AttemptId | None
    phase: Phase | None
    host: str
    port: int
    method: str
    path: str
    allowed: bool
    rule: str
    hint: str
    command: str | None
    sent_bytes: int | None = None
    """From the sandbox; this and the next are None for what was refused, and until it has ended."""
    received_bytes: int | None = None
    seconds: float | None = None


def egress_entries(events: Iterable[RecordedEvent]) -> list[EgressEntry]:
    """Return the decisions in their order.

    Numbers of flows begin anew with the egress process, so an end is that of the newest flow of its number.
    """
    entries: list[EgressEntry] = []
    open_flows: dict[tuple[AttemptId | None, int], int] = {}
    for recorded in events:
        match recorded.event:
            case EgressAllowed(flow=flow):
                open_flows[recorded.attempt, flow] = len(entries)
                entries.append(_entry(recorded, recorded.event))
            case EgressRefused():
                entries.append(_entry(recorded, recorded.event))
            case EgressFinished(flow=flow) as end:
                place = open_flows.pop((recorded.attempt, flow), None)
                if place is not None:
                    entries[place] = _ended(entries[place], end)
    return entries


def entry_to_fields(entry: EgressEntry) -> dict[str, object]:
    """Return an entry as one object of JSON values."""
    fields = asdict(entry)
    verdict = "allowed" if fields.pop("allowed") else "refused"
    return {**fields, "at": entry.at.isoformat(), "verdict": verdict}


def entry_to_line(entry: EgressEntry) -> str:
    """Return an entry as one line of JSON, in ASCII. Digests in records are of these lines: they must not change."""
    return json.dumps(entry_to_fields(entry))


def _entry(recorded: RecordedEvent, event: EgressAllowed | EgressRefused) -> EgressEntry:
    return EgressEntry(
        at=recorded.at,
        attempt=recorded.attempt,
        phase=recorded.phase,
        host=event.host,
        port=event.port,
        method=event.method,
        path=event.path,
        allowed=isinstance(event, EgressAllowed),
        rule=event.rule,
        hint=event.hint if isinstance(event, EgressRefused) else "",
        command=event.command,
    )


def _ended(entry: EgressEntry, end: EgressFinished) -> EgressEntry:
    return replace(entry, sent_bytes=end.sent_bytes, received_bytes=end.received_bytes, seconds=end.seconds)
