"""Who works on this machine: each worker holds a locked file for as long as its process lives.

The kernel releases the lock with the process, however it ends, so a dead worker is known at once and without
a clock. The lock belongs to the open file: a child that is forked without executing anything would keep it.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cloister.errors import StoreError

_SUFFIX = ".lock"


class WorkerLocks:
    """The locks of one state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @contextmanager
    def held(self) -> Iterator[str]:
        """Be a worker; yields its name, which is never used again."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            name, descriptor = self._take()
        except OSError as error:
            raise StoreError(f"{self._directory} cannot hold a worker's lock: {error.strerror}") from error
        try:
            yield name
        finally:
            self._path(name).unlink(missing_ok=True)
            os.close(descriptor)

    def has_others(self, worker: str) -> bool:
        """Whether a worker lives beside that one."""
        return any(name != worker for name in self.living())

    def living(self) -> Sequence[str]:
        """The names of all workers that live, sorted."""
        names = (path.name.removesuffix(_SUFFIX) for path in self._directory.glob(f"*{_SUFFIX}"))
        return sorted(name for name in names if not self.is_dead(name))

    def is_dead(self, worker: str) -> bool:
        """Whether nobody holds that worker's lock."""
        try:
            descriptor = os.open(self._path(worker), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _take(self) -> tuple[str, int]:
        name = secrets.token_hex(8)
        hidden = self._directory / f".{name}"
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Locked before it has its name: otherwise another's sweep could take it for a dead one's.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        hidden.rename(self._path(name))
        return name, descriptor

    def _sweep(self) -> None:
        for path in self._directory.glob(f"*{_SUFFIX}"):
            if self.is_dead(path.name.removesuffix(_SUFFIX)):
                path.unlink(missing_ok=True)

    def _path(self, worker: str) -> Path:
        return self._directory / f"{worker}{_SUFFIX}"
