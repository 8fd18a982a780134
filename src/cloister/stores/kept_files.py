"""Files that are kept with tasks, in the node's state directory."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio.to_thread

from cloister.errors import DiskFullError, NotFoundError, StoreError
from cloister.protocols import FileStore

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)


class DirectoryFileStore:
    """`FileStore` in a directory: one folder per owner, made whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def keep(self, owner: str, files: Mapping[str, bytes]) -> None:
        """Write beside, and rename."""
        await anyio.to_thread.run_sync(self._keep, owner, files)

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

    async def owners(self) -> Sequence[str]:
        """Look into the directory."""
        try:
            return sorted(entry.name for entry in os.scandir(self._directory) if _SAFE.fullmatch(entry.name))
        except FileNotFoundError:
            return []

    async def remove(self, owner: str) -> None:
        """Remove the folder."""
        await anyio.to_thread.run_sync(shutil.rmtree, self._path(owner), True)

    def _keep(self, owner: str, files: Mapping[str, bytes]) -> None:
        place = self._path(owner)
        draft = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir()
            for name, data in files.items():
                path = draft / _checked(name)
                path.write_bytes(data)
                path.chmod(0o444)  # the directory above is ours alone; in a sandbox somebody else reads it
            draft.chmod(0o755)
            shutil.rmtree(place, ignore_errors=True)
            draft.rename(place)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            kind = DiskFullError if error.errno in (28, 122) else StoreError
            raise kind(f"files of {owner} cannot be kept in {self._directory}: {error.strerror}") from error

    def _path(self, owner: str) -> Path:
        return self._directory / _checked(owner)


def _checked(name: str) -> str:
    if not _SAFE.fullmatch(name):
        raise NotFoundError(f"{name!r} is no name of anything that is kept")
    return name


_: type[FileStore] = DirectoryFileStore
