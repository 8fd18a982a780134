"""Waiting for what this process, or another one, writes."""

import subprocess
import sys
from pathlib import Path

import anyio
from sqlalchemy import text

from cloister.stores.database import Database

WRITE = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as connection:
    connection.execute("INSERT INTO secrets VALUES ('e', ?, 'v', 'sealed', NULL)", (sys.argv[2],))
"""


async def _write_elsewhere(path: Path, name: str) -> None:
    await anyio.run_process([sys.executable, "-c", WRITE, str(path), name], stderr=subprocess.PIPE)


async def _settle(database: Database) -> int:
    """Take notice of all that was written by now."""
    mark = database.changes.mark()
    while True:
        with anyio.move_on_after(0.2) as scope:
            await database.changes.wait(mark)
        if scope.cancelled_caught:
            return mark
        mark = database.changes.mark()


async def test_a_commit_of_this_process_wakes(database: Database) -> None:
    mark = database.changes.mark()
    await database.execute(text("INSERT INTO secrets VALUES ('e', 'n', 'v', 'sealed', NULL)"))
    with anyio.fail_after(10):
        await database.changes.wait(mark)


async def test_a_commit_of_another_process_wakes_all_who_wait(database: Database, tmp_path: Path) -> None:
    mark = await _settle(database)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(database.changes.wait, mark)
            await _write_elsewhere(tmp_path / "cloister.db", "n")


async def test_when_the_one_who_looks_goes_away_another_one_looks(database: Database, tmp_path: Path) -> None:
    mark = await _settle(database)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as others:
            async with anyio.create_task_group() as first:
                first.start_soon(database.changes.wait, mark)
                await anyio.wait_all_tasks_blocked()
                others.start_soon(database.changes.wait, mark)
                await anyio.wait_all_tasks_blocked()
                first.cancel_scope.cancel()
            await _write_elsewhere(tmp_path / "cloister.db", "n")
