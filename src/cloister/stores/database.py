"""The database file: connections, transactions and how durable each is."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread
from sqlalchemy import URL, Connection, Engine, Executable, QueuePool, Row, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from cloister.stores.changes import ChangeWatch
from cloister.stores.translation import translated
from cloister.stores.upgrade import BUSY_SECONDS, upgrade
from cloister.stores.writer import Writer

READERS = 4
"""Connections for reading; each is a thread of its own. More readers wait."""

T = TypeVar("T")


class Database:
    """One SQLite file in WAL mode, for any number of processes.

    A transaction is a function of a connection, which is carried out in a thread as a whole. Transactions are short,
    and one that is cut in the middle would leave its connection in doubt: once asked for, cancellation waits for its
    end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readers = _engine(path, begin="BEGIN", connections=READERS)
        self._reading = anyio.CapacityLimiter(READERS)
        self._write_engine = _engine(path, begin="BEGIN IMMEDIATE", connections=1)
        self._writer = Writer(self._write_engine, path)
        self.changes = ChangeWatch(path)

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """Open the file, made or brought up to date when needed; StoreError when it cannot be used."""
        await anyio.to_thread.run_sync(upgrade, path)
        database = cls(path)
        try:
            yield database
        finally:
            with anyio.CancelScope(shield=True):
                await database._close()

    async def query(self, work: Callable[[Connection], T]) -> T:
        """Return what `work` returns: a transaction that sees one state of the database and changes nothing."""
        return await anyio.to_thread.run_sync(self._query, work, limiter=self._reading)

    def _query(self, work: Callable[[Connection], T]) -> T:
        with translated(self._path), self._readers.connect() as connection:
            return work(connection)

    async def first(self, query: Executable) -> Row[Any] | None:
        """Return the first row of a query by itself."""
        return await self.query(lambda connection: connection.execute(query).first())

    async def all(self, query: Executable) -> Sequence[Row[Any]]:
        """Return the rows of a query by itself."""
        return await self.query(lambda connection: connection.execute(query).all())

    async def execute(self, *statements: Executable, synced: bool = False) -> int:
        """Carry statements out as one transaction; return how many rows the last one was about."""
        return await self.transact(
            lambda connection: [connection.execute(each).rowcount for each in statements][-1], synced=synced
        )

    async def transact(
        self, work: Callable[[Connection], T], *, synced: bool = False, committed: Callable[[], None] | None = None
    ) -> T:
        """Return what `work` returns: a transaction that is alone in writing, undone by whatever it raises.

        With `synced`, it and all before it survive a power cut. Without, a power cut (not a crash of ours) may
        undo the newest ones, in order. `committed` is called when everybody can see it, and before it is synced.
        """
        await anyio.lowlevel.checkpoint_if_cancelled()
        try:
            return await self._writer.run(work, synced=synced, committed=committed)
        finally:
            self.changes.notify()

    async def _close(self) -> None:
        self.changes.close()
        await anyio.to_thread.run_sync(self._writer.close)
        for engine in (self._readers, self._write_engine):
            engine.dispose()


def _driver_of(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _engine(path: Path, *, begin: str, connections: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: DBAPIConnection, _: object) -> None:
        # The driver would begin transactions late and by its own rules; the "begin" event below does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA secure_delete = FAST")  # a forgotten secret shall not stay in a free part of a page
        cursor.close()

    event.listen(engine, "begin", lambda connection: _driver_of(connection).execute(begin))
    return engine
