"""Removal that nobody waits for: what goes is renamed at once and deleted by a program of its own."""

import contextlib
import os
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio.to_thread

from cloister.sandboxes.oci.beneath import opened_beneath
from cloister.sandboxes.oci.mounts import mounts_below

_LONGEST_NAME = 50
"""Characters, of which each may be four bytes."""

# rm, because a hostile tree can be deeper than Python's recursion goes; it never follows symlinks.
_REMOVE = ("rm", "-rf", "--one-file-system", "--")
# Not by us, because an unmount writes out what was written.
_DELETE = f"""
grave=$1; shift
for mount do umount --lazy -- "$mount" 2>/dev/null; done
exec {" ".join(_REMOVE)} "$grave"
"""


class Trash:
    """A directory on the file system of what it takes."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._running: list[subprocess.Popen[bytes]] = []

    def throw(self, path: Path, *, graves: Path | None = None) -> None:
        """Take `path`, and what is mounted below it, out of the way. Absent is not an error.

        `graves` is a directory on the file system of `path`, where that is not the one of the trash.
        """
        grave = self._grave_of(path.name, graves)
        with contextlib.suppress(FileNotFoundError):
            path.rename(grave)
            self._delete(grave)

    def take(self, path: Path) -> Callable[[], None]:
        """Take `path` out of the way, and return what deletes it and waits for that. FileNotFoundError when absent."""
        grave = self._grave_of(path.name, None)
        path.rename(grave)

        def delete() -> None:
            subprocess.run(_command_for(grave), start_new_session=True, check=False)

        return delete

    def throw_beneath(self, root: Path, path: str, *, graves: Path | None = None) -> None:
        """Take `path` below `root`, which a sandbox wrote, out of the way. OSError for a link that leads there."""
        *parents, name = path.split("/")
        grave = self._grave_of(name, graves)
        with contextlib.suppress(FileNotFoundError), opened_beneath(root, parents) as folder:
            os.rename(name, grave, src_dir_fd=folder)
            self._delete(grave)

    def sweep(self) -> None:
        """Delete what an earlier process of ours left."""
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self._place):
                self._delete(Path(entry.path))

    async def wait(self) -> None:
        """Return when all is deleted."""
        for process in self._running:
            await anyio.to_thread.run_sync(process.wait)
        self._running.clear()

    def _grave_of(self, name: str, graves: Path | None) -> Path:
        if graves is not None:
            graves.mkdir(mode=0o700, exist_ok=True)
        return (graves or self._place) / f"{name[:_LONGEST_NAME]}.{secrets.token_hex(4)}"

    def _delete(self, grave: Path) -> None:
        self._running = [process for process in self._running if process.poll() is None]
        self._running.append(subprocess.Popen(_command_for(grave), start_new_session=True))


def _command_for(grave: Path) -> list[str]:
    # Not looked for below `grave`, which may hold a link to somebody else's: a mount is where the kernel says.
    mounts = mounts_below(grave)
    return ["sh", "-c", _DELETE, "sh", str(grave), *mounts] if mounts else [*_REMOVE, str(grave)]
