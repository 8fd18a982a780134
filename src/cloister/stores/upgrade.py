"""Brings a database file to the newest tables, once, however many processes open it at the same time."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cloister.errors import StoreError
from cloister.stores.migrations import NEWEST
from cloister.stores.translation import translated

BUSY_SECONDS = 10.0
"""How long a transaction waits for another process's."""


def upgrade(path: Path) -> None:
    """Make the file, readable to its owner alone, or bring it up to date. Blocks; a current file costs one read.

    Raises StoreError when the file was made by a newer Cloister or cannot be used.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(path)
    except OSError as error:
        raise StoreError(f"the database {path} cannot be opened: {error.strerror}") from error
    if revision_of(path) == NEWEST:
        return
    with _locked(path.with_name(path.name + ".lock")):
        revision = revision_of(path)
        if revision is not None and revision > NEWEST:
            raise StoreError(f"{path} was made by a newer Cloister", hint="update this installation")
        if revision != NEWEST:
            _migrate(path)


def _make_private(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def revision_of(path: Path) -> str | None:
    """Return the revision of a file's tables; None when it has none. StoreError."""
    # Read by hand: the migration library takes longer to import than everything else takes to start.
    with translated(path), closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if known else None
        return None if row is None else str(row[0])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _migrate(path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import URL, create_engine, event

    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # The driver begins no transaction for DDL by itself; `begin` below does, so that a step is all or nothing.
        connection.isolation_level = None
        connection.execute("PRAGMA journal_mode = WAL")

    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    try:
        with translated(path), engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()
