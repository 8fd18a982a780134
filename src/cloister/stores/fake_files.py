"""Files that are kept in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from cloister.errors import NotFoundError
from cloister.protocols import FileStore


class FakeFileStore:
    """By owner, and by name."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}

    async def keep(self, owner: str, files: Mapping[str, bytes], *, with_those_of: str | None = None) -> None:
        """See `protocols.FileStore`."""
        assert all("/" not in name and not name.startswith(".") for name in (owner, *files)), "no name for a file"
        self.kept[owner] = {**self.kept.get(with_those_of or "", {}), **files}

    def append(self, owner: str, name: str, data: bytes) -> None:
        """See `protocols.FileStore`."""
        files = self.kept.setdefault(owner, {})
        files[name] = files.get(name, b"") + data

    async def read(self, owner: str, name: str) -> bytes:
        """See `protocols.FileStore`."""
        try:
            return self.kept[owner][name]
        except KeyError as error:
            raise NotFoundError(f"{name} of {owner} is not kept") from error

    def folder(self, owner: str) -> Path | None:
        """A path at which nothing is."""
        return Path("/nowhere") / owner if owner in self.kept else None

    async def owners(self, *, before: datetime | None = None) -> Sequence[str]:
        """See `protocols.FileStore`. All are as old as can be."""
        return sorted(self.kept)

    async def remove(self, owner: str) -> None:
        """See `protocols.FileStore`."""
        self.kept.pop(owner, None)


_: type[FileStore] = FakeFileStore
