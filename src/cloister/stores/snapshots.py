"""The table of snapshots: what is known of kept disks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, insert, select

from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.protocols import SnapshotCatalog
from cloister.stores.database import Database
from cloister.stores.schema import SNAPSHOTS

_NEWEST_FIRST = (SNAPSHOTS.c.created_at.desc(), SNAPSHOTS.c.key)


class SqlSnapshotCatalog:
    """`SnapshotCatalog` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_newest(self, environment: str, repository: str) -> SnapshotRecord | None:
        """The newest record of that pair, expired ones included."""
        pair = (SNAPSHOTS.c.environment == environment, SNAPSHOTS.c.repository == repository)
        async with self._database.read() as connection:
            query = select(SNAPSHOTS).where(*pair).order_by(*_NEWEST_FIRST).limit(1)
            row = (await connection.execute(query)).first()
        return None if row is None else _row_to_record(row)

    async def find(self, key: SnapshotKey) -> SnapshotRecord | None:
        """The record of that key."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(SNAPSHOTS).where(SNAPSHOTS.c.key == key))).first()
        return None if row is None else _row_to_record(row)

    async def add(self, record: SnapshotRecord) -> None:
        """Remember, or replace what was remembered under that key."""
        async with self._database.write() as connection:
            await connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.key == record.key))
            await connection.execute(insert(SNAPSHOTS), _record_to_row(record))

    async def remove(self, key: SnapshotKey) -> None:
        """Forget. Absent is not an error."""
        async with self._database.write() as connection:
            await connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.key == key))

    async def list(self) -> Sequence[SnapshotRecord]:
        """All, newest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(SNAPSHOTS).order_by(*_NEWEST_FIRST))
            return [_row_to_record(row) for row in rows]


def _record_to_row(record: SnapshotRecord) -> dict[str, object]:
    return {
        "key": record.key,
        "environment": record.environment,
        "repository": record.repository,
        "commit": record.commit,
        "parts": dict(record.parts),
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "path": list(record.path),
        "variables": dict(record.variables),
    }


def _row_to_record(row: Row[Any]) -> SnapshotRecord:
    return SnapshotRecord(
        key=SnapshotKey(row.key),
        environment=row.environment,
        repository=row.repository,
        commit=row.commit,
        parts=row.parts,
        created_at=row.created_at,
        expires_at=row.expires_at,
        path=tuple(row.path or ()),
        variables=row.variables or {},
    )


_: type[SnapshotCatalog] = SqlSnapshotCatalog
