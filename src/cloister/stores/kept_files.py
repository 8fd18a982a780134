"""Files that are kept with tasks, in the node's state directory."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import anyio.to_thread

from cloister.errors import DiskFullError, NotFoundError, StoreError
from cloister.protocols import FileStore

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)


class DirectoryFileStore:
    """`FileStore` in a directory: one folder per owner, made whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def keep(self, owner: str, files: Mapping[str, bytes], *, with_those_of: str | None = None) -> None:
        """Write beside, and rename."""
        await anyio.to_thread.run_sync(self._keep, owner, files, with_those_of)

    def append(self, owner: str, name: str, data: bytes) -> None:
        """Write it behind what is there: the kernel has it then, whatever becomes of us."""
        place = self._path(owner)
        try:
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            with (place / _checked(name)).open("ab") as file:
                file.write(data)
        except OSError as error:
            raise _error_of(owner, self._directory, error) from error

    async def read(self, owner: str, name: str) -> bytes:
        """Read one."""
        path = self._path(owner) / _checked(name)
        try:
            return await anyio.to_thread.run_sync(path.read_bytes)
        except OSError as error:
            raise NotFoundError(f"{name} of {owner} is not kept on this node any more") from error

    def folder(self, owner: str) -> Path | None:
        """The owner's own."""
        path = self._path(owner)
        return path if path.is_dir() else None

    async def owners(self, *, before: datetime | None = None) -> Sequence[str]:
        """Look into the directory."""
        return await anyio.to_thread.run_sync(self._owners, before)

    async def remove(self, owner: str) -> None:
        """Remove the folder."""
        await anyio.to_thread.run_sync(shutil.rmtree, self._path(owner), True)

    def _owners(self, before: datetime | None) -> Sequence[str]:
        latest = before.timestamp() if before is not None else float("inf")
        try:
            entries = [entry for entry in os.scandir(self._directory) if entry.stat().st_mtime < latest]
        except FileNotFoundError:
            return []
        return sorted(entry.name for entry in entries if _SAFE.fullmatch(entry.name))

    def _keep(self, owner: str, files: Mapping[str, bytes], others: str | None) -> None:
        place = self._path(owner)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            for path in self._path(others).iterdir() if others is not None else ():
                (draft / path.name).hardlink_to(path)
            for name, data in files.items():
                path = draft / _checked(name)
                path.write_bytes(data)
                path.chmod(0o444)  # the directory above is ours alone; in a sandbox somebody else reads it
            draft.chmod(0o755)
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise _error_of(owner, self._directory, error) from error

    def _path(self, owner: str) -> Path:
        return self._directory / _checked(owner)


def _error_of(owner: str, directory: Path, error: OSError) -> StoreError | DiskFullError:
    kind = DiskFullError if error.errno in (28, 122) else StoreError
    return kind(f"files of {owner} cannot be kept in {directory}: {error.strerror}")


def _checked(name: str) -> str:
    if not _SAFE.fullmatch(name):
        raise NotFoundError(f"{name!r} is no name of anything that is kept")
    return name


_: type[FileStore] = DirectoryFileStore
