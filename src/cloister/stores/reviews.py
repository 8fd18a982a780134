"""The table of reviews: what was reviewed of which pull request, and what was said there."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Select, select
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from cloister.errors import StoreError
from cloister.model.event import Event
from cloister.model.review import KnownReview
from cloister.model.task import TaskId
from cloister.protocols import ReviewStore
from cloister.stores.database import Database
from cloister.stores.events import Entry, append_events
from cloister.stores.schema import REVIEWS

_DOCUMENT = TypeAdapter(KnownReview)


class SqlReviewStore:
    """`ReviewStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, task: TaskId) -> KnownReview | None:
        """By its task."""
        return next(iter(await self._read(select(REVIEWS.c.document).where(REVIEWS.c.task == task))), None)

    async def of_pull_request(self, repository: str, number: int) -> Sequence[KnownReview]:
        """The newest first."""
        own = (REVIEWS.c.repository == repository, REVIEWS.c.number == number)
        return await self._read(select(REVIEWS.c.document).where(*own).order_by(REVIEWS.c.task.desc()))

    async def waiting(self) -> Sequence[KnownReview]:
        """The oldest first."""
        return await self._read(select(REVIEWS.c.document).where(REVIEWS.c.waiting).order_by(REVIEWS.c.task))

    async def save(self, review: KnownReview, at: datetime, events: Sequence[Event] = ()) -> None:
        """Synced, with its events or not at all."""
        values = {"document": _DOCUMENT.dump_json(review).decode(), "waiting": review.waiting, "at": at}
        row = insert_or_update(REVIEWS).values(
            task=review.task, repository=review.repository, number=review.number, **values
        )
        row = row.on_conflict_do_update(index_elements=["task"], set_=values)
        entries = [Entry(at=at, attempt=None, phase=None, event=event) for event in events]

        def keep(connection: Connection) -> None:
            connection.execute(row)
            if entries:
                append_events(connection, TaskId(review.task), entries)

        await self._database.transact(keep, synced=True)

    async def _read(self, query: Select[Any]) -> Sequence[KnownReview]:
        rows = await self._database.all(query)
        try:
            return [_DOCUMENT.validate_json(row.document) for row in rows]
        except ValidationError as error:
            raise StoreError("what is kept of a review cannot be read") from error


_: type[ReviewStore] = SqlReviewStore
