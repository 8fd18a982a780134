"""The file, its tables, and what a transaction promises."""

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, select, text

from cloister.errors import DiskFullError, StoreError
from cloister.stores import database as database_module
from cloister.stores.database import Database
from cloister.stores.migrations import NEWEST
from cloister.stores.schema import METADATA, TASKS

OPEN = """
import sys, anyio
from pathlib import Path
from cloister.stores.database import Database

async def main():
    async with Database.open(Path(sys.argv[1])):
        pass

anyio.run(main)
print("alembic" in sys.modules)
"""

FILL = """
import os, sys, anyio
from pathlib import Path
from sqlalchemy import Connection, select, text
from cloister.errors import DiskFullError
from cloister.stores.database import Database

async def main():
    async with Database.open(Path(sys.argv[1])) as database:
        while True:
            statement = text("INSERT INTO secrets VALUES ('e', :name, 'v', :sealed, NULL)")
            await database.execute(statement.bindparams(name=os.urandom(8).hex(), sealed=os.urandom(10_000)))

try:
    anyio.run(main)
except DiskFullError as error:
    print("full:", error)
"""


async def _open(path: Path) -> None:
    async with Database.open(path):
        pass


async def test_refuses_what_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "cloister.db"
    path.write_bytes(b"not a database at all, but long enough to look at" * 100)
    with pytest.raises(StoreError, match="damaged, or is no database"):
        await _open(path)


async def test_refuses_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(StoreError, match="cannot be opened"):
        await _open(tmp_path / "state" / "cloister.db")


async def test_refuses_the_database_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "cloister.db"
    await _open(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match="newer"):
        await _open(path)


async def test_a_step_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cloister.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE snapshots (in_the_way)")
    connection.close()
    with pytest.raises(StoreError):
        await _open(path)
    with sqlite3.connect(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    connection.close()
    assert tables == [("snapshots",)]


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cloister.db"
    before = os.umask(0)
    try:
        await _open(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_that_others_can_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "cloister.db"
    path.touch(mode=0o644)
    path.chmod(0o644)
    await _open(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_a_transaction_wrote_is_undone_by_an_exception(database: Database) -> None:
    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO secrets VALUES ('e', 'n', 'v', 'sealed', NULL)"))
        raise KeyError

    with pytest.raises(KeyError):
        await database.transact(write)
    assert await _count(database) == 0


async def test_an_error_of_the_driver_is_one_of_ours(database: Database) -> None:
    with pytest.raises(StoreError, match="refused"):
        await database.all(text("SELECT * FROM nowhere"))


async def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StoreError, match="naive"):
        await database.execute(select(TASKS.c.id).where(TASKS.c.accepted_at == datetime(2026, 1, 1)))


class Syncs:
    """How long the log was whenever it was synced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lengths: list[int] = []
        real = os.fdatasync

        def noted(descriptor: int) -> None:
            length = os.fstat(descriptor).st_size
            real(descriptor)
            self.lengths.append(length)

        monkeypatch.setattr(os, "fdatasync", noted)


async def _keep(database: Database, name: str, *, synced: bool) -> None:
    def write(connection: Connection) -> None:
        connection.execute(text("INSERT INTO secrets VALUES ('e', :name, 'v', 'sealed', NULL)"), {"name": name})
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1

    await database.transact(write, synced=synced)


async def _count(database: Database) -> int:
    row = await database.first(text("SELECT count(*) FROM secrets"))
    assert row is not None
    return int(row[0])


async def test_what_is_accepted_is_synced(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = Syncs(monkeypatch)
    log = tmp_path / "cloister.db-wal"
    await _keep(database, "a", synced=False)
    assert syncs.lengths == []
    await _keep(database, "b", synced=True)
    assert syncs.lengths == [log.stat().st_size], "with all that was written before"


async def test_many_who_are_accepted_at_once_are_synced_together(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = Syncs(monkeypatch)
    ends: list[tuple[int, int]] = []

    async def keep(number: int) -> None:
        await _keep(database, str(number), synced=True)
        ends.append((number, max(syncs.lengths)))

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(keep, number)
    assert len(ends) == 40
    assert len(syncs.lengths) <= 40
    assert syncs.lengths[-1] == (tmp_path / "cloister.db-wal").stat().st_size


async def test_a_disk_that_does_not_sync_is_said(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    await _keep(database, "a", synced=False)
    with pytest.raises(StoreError, match="could not be synced"):
        await _keep(database, "b", synced=True)


async def test_a_database_that_another_keeps_locked_is_said_and_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.1)
    async with Database.open(tmp_path / "cloister.db") as database:
        with closing(sqlite3.connect(tmp_path / "cloister.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked for too long"):
                await _keep(database, "a", synced=True)
            assert await _count(database) == 0, "it is read meanwhile"
            other.execute("ROLLBACK")
        await _keep(database, "a", synced=True)


def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    mounted = f'mount -t tmpfs -o size=600k none "{tmp_path}" && exec "$0" "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted]
    command = [*unshare, sys.executable, "-c", FILL, str(tmp_path / "cloister.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("full: the disk of")
    assert DiskFullError.http_status == 507


def test_a_current_file_is_opened_without_the_migration_library(tmp_path: Path) -> None:
    path = tmp_path / "cloister.db"
    outputs = [subprocess.check_output([sys.executable, "-c", OPEN, str(path)], text=True) for _ in range(2)]
    assert outputs == ["True\n", "False\n"]


def test_processes_that_open_it_first_at_once_make_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "cloister.db")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert outputs.count("True\n") == 1


async def test_the_steps_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    await _open(tmp_path / "cloister.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'cloister.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        assert context.get_current_revision() == NEWEST
    engine.dispose()
