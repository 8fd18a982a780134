"""How far a search through the tasks goes, and how far the tasks are that it finds."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from cloister.model.phase import Phase
from cloister.model.task import TaskId
from cloister.stores.schema import EVENTS, TASKS


def first_position(connection: Connection, *, within: int, below: int | None) -> int:
    """Return the position from which on tasks are looked at; they are numbered without gaps, but for what is gone."""
    newest: int | None = connection.scalar(select(func.max(TASKS.c.position))) if below is None else below - 1
    return (newest or 0) - within + 1


def last_looked_at(connection: Connection, *, within: int, below: int | None) -> TaskId | None:
    """See `protocols.TaskStore`."""
    first = first_position(connection, within=within, below=below)
    if connection.scalar(select(TASKS.c.position).where(TASKS.c.position < first).limit(1)) is None:
        return None
    query = select(TASKS.c.id).where(TASKS.c.position >= first).order_by(TASKS.c.position).limit(1)
    return connection.scalar(query)


def read_phases(connection: Connection, tasks: Sequence[TaskId]) -> dict[TaskId, Phase]:
    """See `protocols.TaskStore`. Each is one step from the end of that task's log."""
    found: dict[TaskId, Phase] = {}
    for task in tasks:
        query = select(EVENTS.c.phase).where(EVENTS.c.task == task, EVENTS.c.phase.is_not(None))
        if (phase := connection.scalar(query.order_by(EVENTS.c.seq.desc()).limit(1))) is not None:
            found[task] = Phase(phase)
    return found
