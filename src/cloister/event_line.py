"""Events on the wire, and back: one object each, as `--json` prints them."""

from datetime import datetime
from typing import Any

from cloister.model.event import RecordedEvent, event_to_fields, fields_to_event
from cloister.model.phase import Phase
from cloister.model.task import AttemptId, TaskId

_PLACE = ("seq", "at", "task", "attempt", "phase")


def event_to_line(recorded: RecordedEvent) -> dict[str, object]:
    """Return an event as one object; `event` is its name."""
    return {
        "event": recorded.event.wire_name,
        "seq": recorded.seq,
        "at": recorded.at.isoformat(),
        "task": recorded.task,
        "attempt": recorded.attempt,
        "phase": recorded.phase,
        **event_to_fields(recorded.event),
    }


def line_to_event(line: dict[str, Any]) -> RecordedEvent:
    """Return what `event_to_line` was given. KeyError for an event that this version does not know."""
    fields = {key: value for key, value in line.items() if key not in {"event", *_PLACE}}
    return RecordedEvent(
        seq=line["seq"],
        at=datetime.fromisoformat(line["at"]),
        task=TaskId(line["task"]),
        attempt=None if line["attempt"] is None else AttemptId(line["attempt"]),
        phase=None if line["phase"] is None else Phase(line["phase"]),
        event=fields_to_event(line["event"], fields),
    )
