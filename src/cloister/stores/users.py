"""The table of people whom a provider knows."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from cloister.model.token import Role
from cloister.model.user import User, UserId, new_user_id
from cloister.protocols import UserStore
from cloister.stores.database import Database
from cloister.stores.schema import USERS


class SqlUserStore:
    """`UserStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, issuer: str, subject: str, *, name: str, role: Role, at: datetime) -> User:
        """Synced: what a role was lowered to stays."""
        known = (USERS.c.issuer == issuer, USERS.c.subject == subject)

        def keep(connection: Connection) -> User:
            if connection.execute(select(USERS.c.id).where(*known)).first() is None:
                new = {"id": new_user_id(), "issuer": issuer, "subject": subject, "created_at": at}
                connection.execute(insert(USERS).values(**new, name=name, role=role, last_login_at=at))
            else:
                connection.execute(update(USERS).where(*known).values(name=name, role=role, last_login_at=at))
            return _row_to_user(connection.execute(select(USERS).where(*known)).one())

        return await self._database.transact(keep, synced=True)

    async def get(self, user: UserId) -> User | None:
        """By their id."""
        row = await self._database.first(select(USERS).where(USERS.c.id == user))
        return None if row is None else _row_to_user(row)

    async def list(self) -> Sequence[User]:
        """By name."""
        query = select(USERS).order_by(USERS.c.name, USERS.c.id)
        return [_row_to_user(row) for row in await self._database.all(query)]

    async def set_disabled(self, user: UserId, at: datetime | None) -> User | None:
        """Synced."""
        change = update(USERS).where(USERS.c.id == user).values(disabled_at=at).returning(*USERS.c)
        row = await self._database.transact(lambda connection: connection.execute(change).first(), synced=True)
        return None if row is None else _row_to_user(row)


def _row_to_user(row: Row[Any]) -> User:
    return User(
        id=UserId(row.id),
        issuer=row.issuer,
        subject=row.subject,
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        last_login_at=row.last_login_at,
        disabled_at=row.disabled_at,
    )


_: type[UserStore] = SqlUserStore
