"""The table of signed records: written once, with the end of their attempt."""

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from cloister.model.task import AttemptId, TaskId
from cloister.stores.documents import unpack
from cloister.stores.schema import RECORDS


async def add_record(connection: AsyncConnection, task: TaskId, attempt: AttemptId, packed: bytes) -> None:
    """Keep an attempt's record, which `documents.pack` has compressed."""
    await connection.execute(insert(RECORDS), {"attempt": attempt, "task": task, "envelope": packed})


async def read_record(connection: AsyncConnection, attempt: AttemptId) -> bytes | None:
    """The record of an attempt; None when it has none."""
    packed = await connection.scalar(select(RECORDS.c.envelope).where(RECORDS.c.attempt == attempt))
    return None if packed is None else await unpack(packed)
