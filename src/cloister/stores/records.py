"""The table of signed records: written once, with the end of their attempt."""

from sqlalchemy import Connection, insert, select

from cloister.model.task import AttemptId, TaskId
from cloister.stores.documents import unpack
from cloister.stores.schema import RECORDS


def add_record(connection: Connection, task: TaskId, attempt: AttemptId, packed: bytes) -> None:
    """Keep an attempt's record, which `documents.pack` has compressed."""
    connection.execute(insert(RECORDS), {"attempt": attempt, "task": task, "envelope": packed})


def read_record(connection: Connection, attempt: AttemptId) -> bytes | None:
    """The record of an attempt; None when it has none."""
    packed = connection.scalar(select(RECORDS.c.envelope).where(RECORDS.c.attempt == attempt))
    return None if packed is None else unpack(packed)
