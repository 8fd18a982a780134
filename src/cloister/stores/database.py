"""The database file: connections, transactions and how durable each is."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread
from sqlalchemy import URL, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cloister.errors import StoreError
from cloister.stores.changes import ChangeWatch
from cloister.stores.translation import translated
from cloister.stores.upgrade import BUSY_SECONDS, upgrade
from cloister.together import Together

READERS = 4
"""Connections for reading; each is a thread of its own. More readers wait."""


_LONGEST_QUEUE_SECONDS = 300.0
"""For one of those connections: a thousand streams that are opened at once wait for each other."""


class Database:
    """One SQLite file in WAL mode, for any number of processes.

    Transactions are short, and a driver call that is cut in the middle leaves its connection in doubt:
    once one has begun, cancellation waits for its end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._readers = _engine(path, begin="BEGIN", synchronous="NORMAL", connections=READERS)
        self._writer = _engine(path, begin="BEGIN IMMEDIATE", synchronous="NORMAL", connections=1)
        self._writing = anyio.Lock()
        self._syncing: Together[None, None] = Together()
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

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database and changes nothing."""
        with anyio.CancelScope(shield=True), translated(self._path):
            async with self._readers.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self, *, synced: bool = False) -> AsyncIterator[AsyncConnection]:
        """A transaction that is alone in writing; committed at the end, undone by any exception.

        With `synced`, it and all before it survive a power cut. Without, a power cut (not a crash of ours) may
        undo the newest ones, in order.
        """
        async with self._writing:
            with anyio.CancelScope(shield=True), translated(self._path):
                async with self._writer.begin() as connection:
                    yield connection
        try:
            if synced:
                with anyio.CancelScope(shield=True):
                    await self._syncing.get(None, self._sync)
        finally:
            self.changes.notify()

    async def _sync(self) -> None:
        """Make all that was committed by now survive a power cut; many who wait for that pay for it once.

        It is what SQLite itself does at each commit with `synchronous = FULL` (https://www.sqlite.org/wal.html): until
        a checkpoint, which syncs by itself, a commit is in the log beside the database and nowhere else.
        """
        try:
            await anyio.to_thread.run_sync(_sync_file, self._path.with_name(self._path.name + "-wal"))
        except OSError as error:
            raise StoreError(f"{self._path} could not be synced to its disk: {error.strerror}") from error

    async def _close(self) -> None:
        self.changes.close()
        for engine in (self._readers, self._writer):
            await engine.dispose()


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _engine(path: Path, *, begin: str, synchronous: str, connections: int) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(path)),
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_LONGEST_QUEUE_SECONDS,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: DBAPIConnection, _: object) -> None:
        # The driver would begin transactions late and by its own rules; the "begin" event below does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA synchronous = {synchronous}")
        cursor.execute("PRAGMA secure_delete = FAST")  # a forgotten secret shall not stay in a free part of a page
        cursor.close()

    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine
