"""A copy of the database as it is at one moment, whoever writes meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

from cloister.errors import StoreError
from cloister.stores.translation import translated
from cloister.stores.upgrade import BUSY_SECONDS, revision_of, upgrade


def copy_database(source: Path, target: Path) -> str:
    """Copy by SQLite's own backup, check the copy, and return the revision of its tables. Blocks. StoreError.

    In one step: whoever writes goes on beside it (WAL), and the copy is never begun anew.
    """
    with (
        translated(source),
        closing(sqlite3.connect(source, timeout=BUSY_SECONDS)) as from_,
        closing(sqlite3.connect(target)) as to,
    ):
        from_.backup(to, pages=-1)
        to.execute("PRAGMA journal_mode = DELETE")
        (answer,) = to.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise StoreError(f"the database {source} is damaged: {answer}")
    revision = revision_of(target)
    if revision is None:
        raise StoreError(f"{source} is no database of Cloister")
    return revision


def adopt_database(path: Path) -> None:
    """Bring a copy to the newest tables, and let it be written beside readers again. Blocks. StoreError."""
    upgrade(path)
    with translated(path), closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
