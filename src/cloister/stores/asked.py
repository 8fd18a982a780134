"""The table of what people ask for at forges."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert

from cloister.errors import StoreError
from cloister.model.asked import Asked
from cloister.model.task import TaskId
from cloister.protocols import AskedStore
from cloister.stores.database import Database
from cloister.stores.schema import ASKED

_IT = ASKED.c
_DOCUMENT = TypeAdapter(Asked)


class SqlAskedStore:
    """`AskedStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, key: str) -> Asked | None:
        """By its key."""
        row = await self._database.first(select(_IT.document).where(_IT.key == key))
        return None if row is None else _read(row.document)

    async def save(self, asked: Asked) -> None:
        """Add or replace."""
        changing = {"next_at": asked.next_at, "document": _DOCUMENT.dump_json(asked).decode()}
        fixed = {
            "key": asked.key,
            "repository": asked.repository.address,
            "person": asked.person.lower(),
            "at": asked.at,
        }
        row = insert(ASKED).values(**fixed, **changing)
        await self._database.execute(row.on_conflict_do_update(index_elements=["key"], set_=changing), synced=True)

    async def due(self, now: datetime, *, limit: int) -> Sequence[Asked]:
        """By an index of what is not over."""
        query = select(_IT.document).where(_IT.next_at <= now).order_by(_IT.next_at, _IT.key).limit(limit)
        return [_read(row.document) for row in await self._database.all(query)]

    async def count(self, *, since: datetime, person: str | None = None, repository: str | None = None) -> int:
        """By an index of times."""
        query = select(func.count()).select_from(ASKED).where(_IT.at > since)
        if person is not None:
            query = query.where(_IT.person == person.lower())
        if repository is not None:
            query = query.where(_IT.repository == repository)
        row = await self._database.first(query)
        return 0 if row is None else int(row[0])

    async def is_followed(self, task: TaskId) -> bool:
        """By an index of what is not over."""
        same = func.json_extract(_IT.document, "$.task") == task
        return await self._database.first(select(_IT.key).where(_IT.next_at.is_not(None), same)) is not None


def _read(document: str) -> Asked:
    try:
        return _DOCUMENT.validate_json(document)
    except ValidationError as error:
        raise StoreError("what is kept of a request at the forge cannot be read") from error


_: type[AskedStore] = SqlAskedStore
