"""What SQLite's errors mean to us."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from cloister.errors import CloisterError, DiskFullError, StoreError


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise a library's errors as StoreError, or DiskFullError, that names the database."""
    try:
        yield
    except DBAPIError as error:
        raise _meaning(error.orig or error, path) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _meaning(error, path) from error


def _meaning(error: BaseException, path: Path) -> CloisterError:
    name = getattr(error, "sqlite_errorname", "")
    # The shared memory file beside the database cannot grow either on a full disk (SQLITE_IOERR_SHMSIZE).
    if name in {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}:
        return DiskFullError(f"the disk of {path} is full", hint="free some space; nothing was changed")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(f"another process has kept {path} locked for too long")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreError(f"{path} is damaged, or is no database of Cloister", hint="restore it from a backup")
    return StoreError(f"the database {path} refused: {error}")
