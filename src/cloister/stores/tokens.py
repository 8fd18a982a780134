"""The table of tokens: digests, never what their holders send."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from cloister.model.token import Role, Token, TokenId
from cloister.protocols import TokenStore
from cloister.stores.database import Database
from cloister.stores.schema import TOKENS


class SqlTokenStore:
    """`TokenStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, token: Token, digest: str) -> None:
        """Keep, synced."""
        await self._database.execute(
            insert(TOKENS).values(
                id=token.id,
                name=token.name,
                role=token.role,
                digest=digest,
                created_at=token.created_at,
                expires_at=token.expires_at,
            ),
            synced=True,
        )

    async def find(self, digest: str) -> Token | None:
        """By an index: what can be learnt from its time is a part of a digest, and of no use."""
        row = await self._database.first(select(TOKENS).where(TOKENS.c.digest == digest))
        return None if row is None else _row_to_token(row)

    async def get(self, token: TokenId) -> Token | None:
        """By its id."""
        row = await self._database.first(select(TOKENS).where(TOKENS.c.id == token))
        return None if row is None else _row_to_token(row)

    async def list(self) -> Sequence[Token]:
        """All, newest first."""
        query = select(TOKENS).order_by(TOKENS.c.created_at.desc(), TOKENS.c.id)
        return [_row_to_token(row) for row in await self._database.all(query)]

    async def revoke(self, token: TokenId, at: datetime) -> Token | None:
        """Synced. The time of the first revocation stays."""

        def revoke(connection: Connection) -> Token | None:
            unrevoked = update(TOKENS).where(TOKENS.c.id == token, TOKENS.c.revoked_at.is_(None))
            connection.execute(unrevoked.values(revoked_at=at))
            row = connection.execute(select(TOKENS).where(TOKENS.c.id == token)).first()
            return None if row is None else _row_to_token(row)

        return await self._database.transact(revoke, synced=True)

    async def mark_used(self, token: TokenId, at: datetime) -> None:
        """Not synced: it may be lost."""
        await self._database.execute(update(TOKENS).where(TOKENS.c.id == token).values(last_used_at=at))


def _row_to_token(row: Row[Any]) -> Token:
    return Token(
        id=TokenId(row.id),
        name=row.name,
        role=Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


_: type[TokenStore] = SqlTokenStore
