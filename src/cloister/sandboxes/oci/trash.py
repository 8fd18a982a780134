"""Removal that nobody waits for: what goes is renamed at once and deleted by a program of its own."""

import contextlib
import os
import secrets
import subprocess
from pathlib import Path

import anyio.to_thread

from cloister.sandboxes.oci.beneath import opened_beneath

_LONGEST_NAME = 50
"""Characters, of which each may be four bytes."""


class Trash:
    """A directory on the file system of what it takes."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._running: list[subprocess.Popen[bytes]] = []

    def throw(self, path: Path) -> None:
        """Take `path` out of the way. Absent is not an error."""
        grave = self._grave_of(path.name)
        with contextlib.suppress(FileNotFoundError):
            path.rename(grave)
            self._delete(grave)

    def throw_beneath(self, root: Path, path: str) -> None:
        """Take `path` below `root`, which a sandbox wrote, out of the way. OSError for a link that leads there."""
        *parents, name = path.split("/")
        grave = self._grave_of(name)
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

    def _grave_of(self, name: str) -> Path:
        return self._place / f"{name[:_LONGEST_NAME]}.{secrets.token_hex(4)}"

    def _delete(self, grave: Path) -> None:
        # rm, because a hostile tree can be deeper than Python's recursion goes; it never follows symlinks.
        self._running = [process for process in self._running if process.poll() is None]
        self._running.append(
            subprocess.Popen(["rm", "-rf", "--one-file-system", "--", str(grave)], start_new_session=True)
        )
