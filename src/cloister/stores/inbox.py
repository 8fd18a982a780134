"""The table of what forges tell of."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.dialects.sqlite import insert

from cloister.model.inbox import Arrived
from cloister.protocols import InboxStore
from cloister.stores.database import Database
from cloister.stores.schema import INBOX

_IT = INBOX.c


class SqlInboxStore:
    """`InboxStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, arrived: Arrived) -> bool:
        """One of many that come at once is the first."""
        row = {column.name: getattr(arrived, column.name) for column in _IT}
        return await self._database.execute(insert(INBOX).values(row).on_conflict_do_nothing(), synced=True) == 1

    async def due(self, now: datetime, *, limit: int) -> Sequence[Arrived]:
        """By an index of what waits."""
        query = select(INBOX).where(_IT.next_at <= now).order_by(_IT.next_at, _IT.id).limit(limit)
        return [_row_to_arrived(row) for row in await self._database.all(query)]

    async def claim(self, arrived: Arrived, until: datetime) -> bool:
        """Let nobody else try it before `until`; False when somebody else does."""
        same = (_IT.id == arrived.id, _IT.next_at == arrived.next_at)
        claim = update(INBOX).where(*same).values(next_at=until, tries=_IT.tries + 1)
        return await self._database.execute(claim) == 1

    async def put_off(self, id: str, next_at: datetime, *, tries: int, outcome: str) -> None:
        """Not synced: at worst it is looked at earlier."""
        values = {"next_at": next_at, "tries": tries, "outcome": outcome}
        await self._database.execute(update(INBOX).where(_IT.id == id).values(values))

    async def finish(self, id: str, outcome: str) -> None:
        """Id and digest stay."""
        values = {"next_at": None, "outcome": outcome, "body": b""}
        await self._database.execute(update(INBOX).where(_IT.id == id).values(values), synced=True)

    async def list(self, *, limit: int) -> Sequence[Arrived]:
        """By an index."""
        query = select(INBOX).order_by(_IT.arrived_at.desc(), _IT.id).limit(limit)
        return [_row_to_arrived(row) for row in await self._database.all(query)]


def _row_to_arrived(row: Row[Any]) -> Arrived:
    return Arrived(**row._mapping)


_: type[InboxStore] = SqlInboxStore
