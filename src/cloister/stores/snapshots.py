"""The table of snapshots: what is known of kept disks."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update

from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.protocols import SnapshotCatalog
from cloister.stores.database import Database
from cloister.stores.schema import SNAPSHOTS

_FIND = select(SNAPSHOTS).where(SNAPSHOTS.c.key == bindparam("of_key"))  # made once: every start finds one
_NEWEST_FIRST = (SNAPSHOTS.c.created_at.desc(), SNAPSHOTS.c.key)


class SqlSnapshotCatalog:
    """`SnapshotCatalog` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_newest(self, environment: str, repository: str, *, ref: str | None = None) -> SnapshotRecord | None:
        """The newest record of that pair and ref, expired ones included."""
        pair = (
            SNAPSHOTS.c.environment == environment,
            SNAPSHOTS.c.repository == repository,
            SNAPSHOTS.c.ref.is_(None) if ref is None else SNAPSHOTS.c.ref == ref,
            SNAPSHOTS.c.attempt.is_(None),
        )
        query = select(SNAPSHOTS).where(*pair).order_by(*_NEWEST_FIRST).limit(1)
        row = await self._database.first(query)
        return None if row is None else _row_to_record(row)

    async def find(self, key: SnapshotKey) -> SnapshotRecord | None:
        """The record of that key."""
        row = await self._database.query(lambda connection: connection.execute(_FIND, {"of_key": key}).first())
        return None if row is None else _row_to_record(row)

    async def add(self, record: SnapshotRecord) -> None:
        """Remember, or replace what was remembered under that key."""
        former = delete(SNAPSHOTS).where(SNAPSHOTS.c.key == record.key)
        await self._database.execute(former, insert(SNAPSHOTS).values(_record_to_row(record)))

    async def mark_used(self, keys: Collection[SnapshotKey], at: datetime) -> None:
        """Remember when they were used."""
        await self._database.execute(update(SNAPSHOTS).where(SNAPSHOTS.c.key.in_(keys)).values(last_used_at=at))

    async def set_size(self, key: SnapshotKey, size_bytes: int) -> None:
        """Remember how large it is."""
        await self._database.execute(update(SNAPSHOTS).where(SNAPSHOTS.c.key == key).values(size_bytes=size_bytes))

    async def remove(self, key: SnapshotKey) -> None:
        """Forget. Absent is not an error."""
        await self._database.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.key == key))

    async def list(self) -> Sequence[SnapshotRecord]:
        """All, newest first."""
        return [_row_to_record(row) for row in await self._database.all(select(SNAPSHOTS).order_by(*_NEWEST_FIRST))]


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
        "last_used_at": record.last_used_at,
        "size_bytes": record.size_bytes,
        "ref": record.ref,
        "below": record.below,
        "attempt": record.attempt,
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
        last_used_at=row.last_used_at,
        size_bytes=row.size_bytes,
        ref=row.ref,
        below=None if row.below is None else SnapshotKey(row.below),
        attempt=row.attempt,
    )


_: type[SnapshotCatalog] = SqlSnapshotCatalog
