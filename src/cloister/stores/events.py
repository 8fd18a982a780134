"""The log of every task: appended to in order, never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, select, update

from cloister.errors import StoreError
from cloister.model.event import Event, RecordedEvent, event_to_fields, fields_to_event
from cloister.model.phase import Phase
from cloister.model.task import AttemptId, TaskId
from cloister.model.webhook import EVENTS as WEBHOOK_EVENTS
from cloister.model.webhook import new_delivery_id
from cloister.stores.schema import DELIVERIES, EVENTS, TASKS, WEBHOOKS

_OUTPUT = "output"
_TOLD = frozenset(WEBHOOK_EVENTS)
# Made once: on the way of every acceptance and start, making them takes as long as carrying them out.
_INSERT = insert(EVENTS)
_READ = (
    select(EVENTS)
    .where(EVENTS.c.task == bindparam("of_task"), EVENTS.c.seq > bindparam("after"))
    .order_by(EVENTS.c.seq)
    .limit(bindparam("most"))
)
_READ_TOLD = _READ.where(EVENTS.c.name != _OUTPUT)
_COUNT = (
    update(TASKS)
    .where(TASKS.c.id == bindparam("of_task"))
    .values(last_seq=TASKS.c.last_seq + bindparam("more"))
    .returning(TASKS.c.last_seq, exists(select(WEBHOOKS.c.id)).label("has_webhooks"))  # asked here, so it costs no time
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An event on its way into the log."""

    at: datetime
    attempt: AttemptId | None
    phase: Phase | None
    event: Event


def append_events(connection: Connection, task: TaskId, entries: Sequence[Entry]) -> None:
    """Give each entry the next place in the task's log. The caller's transaction keeps the places unique."""
    last, is_told = connection.execute(_COUNT, {"of_task": task, "more": len(entries)}).one()
    first = last - len(entries) + 1
    rows = [_entry_to_row(task, seq, entry) for seq, entry in enumerate(entries, first)]
    connection.execute(_INSERT, rows)
    if is_told:
        _queue_messages(connection, task, first, entries)


def _queue_messages(connection: Connection, task: TaskId, first: int, entries: Sequence[Entry]) -> None:
    """Queue what webhooks send of these events, in the same transaction: neither is there without the other."""
    told = [(seq, entry) for seq, entry in enumerate(entries, first) if entry.event.wire_name in _TOLD]
    if not told:
        return
    webhooks = connection.execute(select(WEBHOOKS.c.id, WEBHOOKS.c.events)).all()
    messages = [
        {
            "id": new_delivery_id(),
            "webhook": webhook.id,
            "event": entry.event.wire_name,
            "task": task,
            "seq": seq,
            "created_at": entry.at,
            "tries": 0,
            "next_at": entry.at,
            "error": "",
        }
        for webhook in webhooks
        for seq, entry in told
        if entry.event.wire_name in webhook.events
    ]
    if messages:
        connection.execute(insert(DELIVERIES), messages)


def find_event(connection: Connection, task: TaskId, seq: int) -> RecordedEvent | None:
    """One event of a task's log."""
    query = select(EVENTS).where(EVENTS.c.task == task, EVENTS.c.seq == seq)
    row = connection.execute(query).first()
    return None if row is None else _row_to_event(row)


def read_events(
    connection: Connection, task: TaskId, *, after: int, limit: int, output: bool = True
) -> list[RecordedEvent]:
    """The next events of a task's log, at most `limit`; without `output`, what was printed is left out."""
    asked = {"of_task": task, "after": after, "most": limit}
    return [_row_to_event(row) for row in connection.execute(_READ if output else _READ_TOLD, asked)]


def read_told(connection: Connection, task: TaskId, attempt: AttemptId) -> list[RecordedEvent]:
    """An attempt's events, without output."""
    own = (EVENTS.c.task == task, EVENTS.c.attempt == attempt, EVENTS.c.name != _OUTPUT)
    return [_row_to_event(row) for row in connection.execute(select(EVENTS).where(*own).order_by(EVENTS.c.seq))]


def read_output_offset(connection: Connection, attempt: AttemptId, command: str) -> int:
    """Where the recorded output of that command ends; 0 when there is none."""
    query = select(func.max(EVENTS.c.output_end)).where(EVENTS.c.attempt == attempt, EVENTS.c.command == command)
    return connection.execute(query).scalar_one() or 0


def _entry_to_row(task: TaskId, seq: int, entry: Entry) -> Mapping[str, object]:
    event = entry.event
    command, output_end = event.read_to or (None, None)
    return {
        "task": task,
        "seq": seq,
        "at": entry.at,
        "attempt": entry.attempt,
        "phase": entry.phase,
        "name": event.wire_name,
        "fields": event_to_fields(event),
        "command": command,
        "output_end": output_end,
    }


def _row_to_event(row: Row[Any]) -> RecordedEvent:
    try:
        event = fields_to_event(row.name, row.fields)
    except KeyError as error:
        raise StoreError(f"event {row.seq} of task {row.task} is of a kind that this version does not know") from error
    return RecordedEvent(
        seq=row.seq,
        at=row.at,
        task=TaskId(row.task),
        attempt=None if row.attempt is None else AttemptId(row.attempt),
        phase=None if row.phase is None else Phase(row.phase),
        event=event,
    )
