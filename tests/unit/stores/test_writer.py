"""What becomes of transactions that are asked for together."""

import os
import threading
from pathlib import Path

import anyio
import pytest
from sqlalchemy import Connection, text

from cloister.errors import StoreError
from cloister.stores.database import Database

INSERT = text("INSERT INTO secrets VALUES ('e', :name, 'v', 'sealed', NULL)")
LONG_SECONDS = 60


class SlowDisk:
    """A disk that syncs when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun = 0
        real = os.fdatasync

        def slow(descriptor: int) -> None:
            self.begun += 1
            assert self.go.wait(LONG_SECONDS)
            real(descriptor)

        monkeypatch.setattr(os, "fdatasync", slow)

    async def is_busy(self) -> None:
        """Wait until it is asked for something."""
        with anyio.fail_after(LONG_SECONDS):
            while not self.begun:  # noqa: ASYNC110
                await anyio.sleep(0.01)


async def _keep(database: Database, name: str, *, synced: bool = False) -> None:
    await database.execute(INSERT.bindparams(name=name), synced=synced)


async def _count(database: Database) -> int:
    row = await database.first(text("SELECT count(*) FROM secrets"))
    assert row is not None
    return int(row[0])


async def test_one_that_fails_undoes_nothing_of_the_others(database: Database) -> None:
    failed = []

    async def fail() -> None:
        with pytest.raises(StoreError, match="UNIQUE"):
            await _keep(database, "0", synced=True)
        failed.append(1)

    await _keep(database, "0")
    async with anyio.create_task_group() as group:
        for number in range(1, 11):
            group.start_soon(_keep, database, str(number))
            group.start_soon(fail)
    assert (len(failed), await _count(database)) == (10, 11)


async def test_cancellation_waits_for_the_end_of_what_was_asked_for(database: Database) -> None:
    begun, go = threading.Event(), threading.Event()

    def write(connection: Connection) -> None:
        begun.set()
        assert go.wait(LONG_SECONDS)
        connection.execute(INSERT, {"name": "a"})

    async with anyio.create_task_group() as group:
        group.start_soon(database.transact, write)
        await anyio.to_thread.run_sync(begun.wait, LONG_SECONDS)
        group.cancel_scope.cancel()
        go.set()
    assert await _count(database) == 1


async def test_what_is_asked_for_by_somebody_who_is_cancelled_is_not_begun(database: Database) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await _keep(database, "a")
    assert await _count(database) == 0


async def test_those_that_are_committed_during_a_sync_share_the_next(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, ended = SlowDisk(monkeypatch), []

    async def keep(number: int) -> None:
        await _keep(database, str(number), synced=True)
        ended.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(keep, 0)
        await disk.is_busy()
        for number in range(1, 21):
            group.start_soon(keep, number)
        while await _count(database) < 21:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        assert ended == [], "nobody is answered before it is on disk"
        disk.go.set()
    assert (len(ended), disk.begun) == (21, 2)


async def test_the_name_of_the_log_is_synced_with_the_first(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = [], os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    await _keep(database, "a")
    assert synced == []
    for name in "bc":
        await _keep(database, name, synced=True)
    assert synced == [str(tmp_path)]


async def test_a_slow_disk_delays_nobody_who_does_not_need_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: _keep(database, "a", synced=True))
        await disk.is_busy()
        with anyio.fail_after(LONG_SECONDS):
            await _keep(database, "b")
        assert not disk.go.is_set()
        disk.go.set()


async def test_what_was_asked_for_is_carried_out_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "cloister.db"
    async with anyio.create_task_group() as group, Database.open(path) as database:
        for number in range(5):
            group.start_soon(_keep, database, str(number))
        await anyio.wait_all_tasks_blocked()
    async with Database.open(path) as database:
        assert await _count(database) == 5


async def test_who_wants_to_know_of_a_commit_is_told_before_the_sync_and_never_of_one_that_failed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, told = SlowDisk(monkeypatch), anyio.Event()

    def insert(connection: Connection) -> None:
        connection.execute(INSERT, {"name": "0"})

    async def keep() -> None:
        await database.transact(insert, synced=True, committed=told.set)

    async with anyio.create_task_group() as group:
        group.start_soon(keep)
        await disk.is_busy()
        with anyio.fail_after(LONG_SECONDS):
            await told.wait()
        assert await _count(database) == 1, "and everybody can see it"
        disk.go.set()
    again = anyio.Event()
    with pytest.raises(StoreError, match="UNIQUE"):
        await database.transact(insert, synced=True, committed=again.set)
    await anyio.wait_all_tasks_blocked()
    assert not again.is_set()
