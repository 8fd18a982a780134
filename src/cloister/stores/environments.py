"""The table of stored environments: every version of every name."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from cloister.model.stored_environment import StoredEnvironment, conflict
from cloister.protocols import EnvironmentStore
from cloister.stores.database import Database
from cloister.stores.schema import ENVIRONMENTS


class SqlEnvironmentStore:
    """`EnvironmentStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, name: str, text: str, *, origin: str, created_at: datetime, after: int | None
    ) -> StoredEnvironment:
        """Store the next version. ConflictError."""

        def keep(connection: Connection) -> StoredEnvironment:
            last = _last(connection, name)
            newest = None if last is None or last.deleted_at else last
            if after != (newest.version if newest else None):
                raise conflict(name, newest, after)
            version = last.version + 1 if last else 1
            stored = StoredEnvironment(name=name, version=version, text=text, origin=origin, created_at=created_at)
            connection.execute(insert(ENVIRONMENTS), dataclasses.asdict(stored))
            return stored

        return await self._database.transact(keep, synced=True)

    async def find(self, name: str, version: int | None = None) -> StoredEnvironment | None:
        """That version, or the newest of a name that is in use."""
        if version is None:
            last = await self._database.query(partial(_last, name=name))
            return None if last is None or last.deleted_at else last
        query = select(ENVIRONMENTS).where(ENVIRONMENTS.c.name == name, ENVIRONMENTS.c.version == version)
        row = await self._database.first(query)
        return None if row is None else _row_to_stored(row)

    async def list(self) -> Sequence[StoredEnvironment]:
        """The newest version of every name in use, by name."""
        newest = select(ENVIRONMENTS.c.name, func.max(ENVIRONMENTS.c.version).label("version"))
        numbers = newest.group_by(ENVIRONMENTS.c.name).subquery()
        same = (ENVIRONMENTS.c.name == numbers.c.name) & (ENVIRONMENTS.c.version == numbers.c.version)
        query = select(ENVIRONMENTS).join(numbers, same).where(ENVIRONMENTS.c.deleted_at.is_(None))
        return [_row_to_stored(row) for row in await self._database.all(query.order_by(ENVIRONMENTS.c.name))]

    async def versions(self, name: str) -> Sequence[StoredEnvironment]:
        """Every version of a name, newest first."""
        query = select(ENVIRONMENTS).where(ENVIRONMENTS.c.name == name).order_by(ENVIRONMENTS.c.version.desc())
        return [_row_to_stored(row) for row in await self._database.all(query)]

    async def delete(self, name: str, *, deleted_at: datetime) -> bool:
        """Take the name out of use."""

        def delete(connection: Connection) -> bool:
            last = _last(connection, name)
            if last is None or last.deleted_at:
                return False
            place = (ENVIRONMENTS.c.name == name, ENVIRONMENTS.c.version == last.version)
            connection.execute(update(ENVIRONMENTS).where(*place).values(deleted_at=deleted_at))
            return True

        return await self._database.transact(delete, synced=True)


def _last(connection: Connection, name: str) -> StoredEnvironment | None:
    query = select(ENVIRONMENTS).where(ENVIRONMENTS.c.name == name).order_by(ENVIRONMENTS.c.version.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _row_to_stored(row)


def _row_to_stored(row: Row[Any]) -> StoredEnvironment:
    return StoredEnvironment(
        name=row.name,
        version=row.version,
        text=row.text,
        origin=row.origin,
        created_at=row.created_at,
        deleted_at=row.deleted_at,
    )


_: type[EnvironmentStore] = SqlEnvironmentStore
