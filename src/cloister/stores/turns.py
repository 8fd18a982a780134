"""The table of turns, and the turns of a task put together from it and from their attempts."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, Select, insert, select

from cloister.model.fairness import Waiting
from cloister.model.given import GivenFile
from cloister.model.task import (
    AttemptId,
    AttemptStatus,
    FollowUp,
    Task,
    TaskId,
    TaskState,
    Turn,
    first_turn,
)
from cloister.stores.documents import document_to_outcome, unpack
from cloister.stores.schema import ATTEMPTS, TASKS, TURNS

_FILES = TypeAdapter(tuple[GivenFile, ...])
LIGHT_ATTEMPT = [column for column in ATTEMPTS.c if column.name != "diff"]


def add_turn(connection: Connection, task: TaskId, turn: FollowUp) -> None:
    """Keep a turn that begins with the event that was appended last."""
    row = {
        "task": task,
        "number": turn.number,
        "prompt": turn.prompt,
        "continues": turn.continues,
        "files": _FILES.dump_python(turn.files, mode="json"),
        "given": turn.given,
        "accepted_at": turn.accepted_at,
        "seq": select(TASKS.c.last_seq).where(TASKS.c.id == task).scalar_subquery(),
    }
    connection.execute(insert(TURNS).values(row))


def read_turn_rows(connection: Connection, tasks: Collection[str]) -> Sequence[Row[Any]]:
    """Return the rows of later turns of these tasks, in their order."""
    query = select(TURNS).where(TURNS.c.task.in_(tasks)).order_by(TURNS.c.task, TURNS.c.number)
    return connection.execute(query).all()


def read_turns(connection: Connection, task: Task, *, diff_of: AttemptId | None = None) -> tuple[Turn, ...]:
    """Return all turns of a task, with the diff of one attempt alone."""
    attempts = connection.execute(attempts_of([task.id], LIGHT_ATTEMPT)).all()
    diff = b""
    if diff_of is not None:
        diff = unpack(connection.scalar(select(ATTEMPTS.c.diff).where(ATTEMPTS.c.id == diff_of)))
    statuses = [(row.turn, attempt_status(row, diff=diff if row.id == diff_of else b"")) for row in attempts]
    return to_turns(task, statuses, read_turn_rows(connection, [task.id]))


def to_turns(task: Task, attempts: Iterable[tuple[int, AttemptStatus]], rows: Iterable[Row[Any]]) -> tuple[Turn, ...]:
    """Put turns together; `attempts` are with the number of their turn, in their order."""
    by_turn: dict[int, list[AttemptStatus]] = {}
    for number, attempt in attempts:
        by_turn.setdefault(number, []).append(attempt)
    later = (
        Turn(
            number=row.number,
            prompt=row.prompt,
            accepted_at=row.accepted_at,
            continues=AttemptId(row.continues),
            seq=row.seq,
            files=_FILES.validate_python(row.files or ()),
            given=row.given,
            attempts=tuple(by_turn.get(row.number, ())),
        )
        for row in rows
    )
    return (first_turn(task, by_turn.get(1, ())), *later)


def attempts_of(tasks: Sequence[str], columns: Any) -> Select[Any]:
    """Return the query for the attempts of these tasks, in their order."""
    return select(*columns).where(ATTEMPTS.c.task.in_(tasks)).order_by(ATTEMPTS.c.position)


def attempt_status(row: Row[Any], *, diff: bytes, waits: Waiting | None = None) -> AttemptStatus:
    """Return where the attempt of a row is, and how it waits, if it does."""
    return AttemptStatus(
        attempt=AttemptId(row.id),
        number=row.number,
        state=TaskState(row.state),
        outcome=None if row.outcome is None else document_to_outcome(row.outcome, diff=diff),
        queue_position=waits.place if waits else None,
        held_by=waits.held_by if waits else None,
    )
