"""Where something large is made once, out of sight, before one rename shows it whole: images and packs."""

import errno
import fcntl
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType

import anyio
from anyio import to_thread

from cloister.errors import DiskFullError, SandboxError

_LOCK_POLL_SECONDS = 0.1


@asynccontextmanager
async def locked(folder: Path, name: str) -> AsyncIterator[None]:
    """Hold the lock of `name` in `folder`: against tasks of this process and against other processes."""
    locks = folder / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(locks / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        # A blocking flock would need a thread that cancellation cannot reach.
        while not _try_lock(descriptor):  # noqa: ASYNC110  other processes cannot set our events
            await anyio.sleep(_LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def workbench(folder: Path, name: str, what: str) -> AsyncIterator[Path]:
    """A new folder below `folder` to make `what` in; nothing of it is left, and nothing of makers that died.

    What the operating system refuses meanwhile is a DiskFullError or a SandboxError.
    """
    bench = folder / "building" / name
    try:
        await to_thread.run_sync(remove_tree, bench)
        await to_thread.run_sync(remove_tree, folder / "removing")
        bench.mkdir(parents=True)
        yield bench
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(f"no space left in {folder} to build {what}") from error
        raise SandboxError(f"cannot build {what}: {error}") from error
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(remove_tree, bench)


def remove_tree(path: Path) -> None:
    """Remove it, also while another process of ours does the same. Absent is not an error."""
    shutil.rmtree(path, onerror=_unless_gone)


def sync(path: Path) -> None:
    """Write one file, or the names in one folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def sync_file_system(path: Path) -> None:
    """Write everything out once (syncfs(2)): forty thousand single fsyncs would take minutes."""
    await anyio.run_process(["sync", "--file-system", str(path)])


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unless_gone(_: object, __: str, failure: tuple[type[BaseException], BaseException, TracebackType]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        raise failure[1]
