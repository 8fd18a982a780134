"""The table of sessions: digests, never what browsers send."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from cloister.model.session import Session, SessionId
from cloister.model.token import TokenId
from cloister.model.user import UserId
from cloister.protocols import SessionStore
from cloister.stores.database import Database
from cloister.stores.schema import SESSIONS


class SqlSessionStore:
    """`SessionStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: Session, digest: str) -> None:
        """Not synced: after a power cut somebody may have to log in again."""
        await self._database.execute(
            insert(SESSIONS).values(
                id=session.id,
                digest=digest,
                token=session.token,
                user=session.user,
                address=session.address,
                created_at=session.created_at,
                expires_at=session.expires_at,
                last_used_at=session.last_used_at,
            )
        )

    async def find(self, digest: str) -> Session | None:
        """By an index, as tokens are."""
        row = await self._database.first(select(SESSIONS).where(SESSIONS.c.digest == digest))
        return None if row is None else _row_to_session(row)

    async def get(self, session: SessionId) -> Session | None:
        """By its id."""
        row = await self._database.first(select(SESSIONS).where(SESSIONS.c.id == session))
        return None if row is None else _row_to_session(row)

    async def list(self) -> Sequence[Session]:
        """All, newest first."""
        query = select(SESSIONS).order_by(SESSIONS.c.created_at.desc(), SESSIONS.c.id)
        return [_row_to_session(row) for row in await self._database.all(query)]

    async def remove(self, session: SessionId) -> Session | None:
        """Synced."""
        removal = delete(SESSIONS).where(SESSIONS.c.id == session).returning(*SESSIONS.c)
        row = await self._database.transact(lambda connection: connection.execute(removal).first(), synced=True)
        return None if row is None else _row_to_session(row)

    async def remove_expired(self, now: datetime) -> None:
        """Not synced."""
        await self._database.execute(delete(SESSIONS).where(SESSIONS.c.expires_at <= now))

    async def mark_used(self, session: SessionId, at: datetime) -> None:
        """Not synced: it may be lost."""
        await self._database.execute(update(SESSIONS).where(SESSIONS.c.id == session).values(last_used_at=at))


def _row_to_session(row: Row[Any]) -> Session:
    return Session(
        id=SessionId(row.id),
        token=None if row.token is None else TokenId(row.token),
        user=None if row.user is None else UserId(row.user),
        address=row.address,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


_: type[SessionStore] = SqlSessionStore
