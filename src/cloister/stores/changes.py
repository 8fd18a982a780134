"""Tells those who wait that the database may have changed, in this process or in another one."""

import sqlite3
from pathlib import Path

import anyio

LOOK_SECONDS = 0.05
"""How often other processes' writes are looked for, while somebody waits."""


class ChangeWatch:
    """Wakes by event for this process's commits, and by SQLite's data version for those of others.

    Nothing runs while nobody waits: of those who wait, one looks on behalf of all.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None
        self._changes = 0
        self._changed = anyio.Event()
        self._somebody_looks = False

    def close(self) -> None:
        """Give the connection back. Harmless twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def mark(self) -> int:
        """What `wait` is to be given; taken before reading what shall not be missed."""
        return self._changes

    def notify(self) -> None:
        """Something was committed in this process."""
        self._changes += 1
        self._wake()

    async def wait(self, mark: int) -> None:
        """Return when something was committed after `mark` was taken; may return early."""
        while self._changes == mark:
            if self._somebody_looks:
                await self._changed.wait()
            else:
                await self._look(mark)

    def version(self) -> int:
        """A number that differs when any other connection, in any process, has committed since the last call.

        Costs a few microseconds, so it needs no thread. Only equality means something.
        """
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.OperationalError:
            return -1  # busy with recovery: a change, for all we know

    async def _look(self, mark: int) -> None:
        self._somebody_looks = True
        try:
            while self._changes == mark:
                self._compare()
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._changed.wait()
        finally:
            self._somebody_looks = False
            self._wake()  # another one has to look now

    def _compare(self) -> None:
        version = self.version()
        if version != self._seen:
            self._seen = version
            self.notify()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
