"""The table of publications: a task's branch and pull request, as Cloister made them last."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert as insert_or_update

from cloister.errors import StoreError
from cloister.model.event import Event
from cloister.model.publication import Publication
from cloister.model.sandbox import Commit
from cloister.model.task import TaskId, TaskPullRequest
from cloister.protocols import PublicationStore
from cloister.stores.database import Database
from cloister.stores.events import Entry, append_events
from cloister.stores.schema import ADOPTED, PUBLICATIONS

_DOCUMENT = TypeAdapter(Publication)


def read_pull_requests(connection: Connection, tasks: Sequence[str]) -> Mapping[str, TaskPullRequest]:
    """Return those that tasks have, by task. StoreError."""
    query = select(PUBLICATIONS.c.task, PUBLICATIONS.c.document).where(PUBLICATIONS.c.task.in_(tasks))
    known = {row.task: _read(row.document, row.task) for row in connection.execute(query)}
    return {
        task: TaskPullRequest(
            number=it.number, address=it.address, branch=it.branch, base=it.base, title=it.title or ""
        )
        for task, it in known.items()
        if it.number is not None and it.address is not None
    }


def _read(document: str, task: str) -> Publication:
    try:
        return _DOCUMENT.validate_json(document)
    except ValidationError as error:
        raise StoreError(f"what is kept of the pull request of task {task} cannot be read") from error


class SqlPublicationStore:
    """`PublicationStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, task: TaskId) -> Publication | None:
        """By its task."""
        query = select(PUBLICATIONS.c.document).where(PUBLICATIONS.c.task == task)
        row = await self._database.first(query)
        return None if row is None else _read(row.document, task)

    async def of_pull_request(self, repository: str, number: int) -> Publication | None:
        """The newest, of those whose branch is their own."""
        document = PUBLICATIONS.c.document
        of_repository = func.json_extract(document, "$.repository") == repository
        of_number = func.json_extract(document, "$.number") == number
        query = select(PUBLICATIONS).where(of_repository, of_number).order_by(PUBLICATIONS.c.at.desc())
        found = [_read(row.document, row.task) for row in await self._database.all(query)]
        return next((it for it in found if not it.adopted), None)

    async def note_adopted(self, branch: str, commit: Commit, at: datetime) -> None:
        """Synced."""
        row = insert_or_update(ADOPTED).values(commit=commit, branch=branch, at=at).on_conflict_do_nothing()
        await self._database.execute(row, synced=True)

    async def adopted_commits(self) -> Mapping[Commit, str]:
        """All of them: they are few, and none may be missed."""
        rows = await self._database.all(select(ADOPTED.c.commit, ADOPTED.c.branch))
        return {Commit(row.commit): row.branch for row in rows}

    async def save(self, publication: Publication, at: datetime, events: Sequence[Event] = ()) -> None:
        """Synced, with its events or not at all."""
        document = _DOCUMENT.dump_json(publication).decode()
        row = insert_or_update(PUBLICATIONS).values(task=publication.task, document=document, at=at)
        row = row.on_conflict_do_update(index_elements=["task"], set_={"document": document, "at": at})
        entries = [Entry(at=at, attempt=None, phase=None, event=event) for event in events]

        def keep(connection: Connection) -> None:
            connection.execute(row)
            if entries:
                append_events(connection, publication.task, entries)

        await self._database.transact(keep, synced=True)


_: type[PublicationStore] = SqlPublicationStore
