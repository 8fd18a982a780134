"""Who makes the disk of which key: a locked file for as long as its maker works on it.

The kernel releases the lock with the process, however it ends. The lock belongs to the open file, so attempts of one
process are kept apart too.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio

from cloister.model.snapshot import SnapshotKey

LOOK_SECONDS = 0.05
"""How often one who waits looks: the kernel's own waiting cannot be cancelled."""


class BuildClaims:
    """The locks in one directory, a file per key that is being made."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def claim(self, key: SnapshotKey, *, wait: bool) -> AbstractContextManager[None] | None:
        """Take the key; None when another has it and we shall not wait. Released when the context is left."""
        while (descriptor := self._take(key)) is None:
            if not wait:
                return None
            await anyio.sleep(LOOK_SECONDS)
        return self._held(key, descriptor)

    def sweep(self) -> None:
        """Remove the files of makers that were killed."""
        for path in self._directory.iterdir():
            key = SnapshotKey(path.name)
            if (descriptor := self._take(key)) is not None:
                self._give_back(key, descriptor)

    def _take(self, key: SnapshotKey) -> int | None:
        path = self._directory / key
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)  # another holds it, or held it until now and has taken the file away
        return None

    @contextmanager
    def _held(self, key: SnapshotKey, descriptor: int) -> Iterator[None]:
        try:
            yield
        finally:
            self._give_back(key, descriptor)

    def _give_back(self, key: SnapshotKey, descriptor: int) -> None:
        (self._directory / key).unlink(missing_ok=True)  # while it is locked: whoever opened it looks again
        os.close(descriptor)
