"""Files that are kept in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cloister.errors import NotFoundError
from cloister.protocols import FileStore


class FakeFileStore:
    """By owner, and by name."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, bytes]] = {}

    async def keep(self, owner: str, files: Mapping[str, bytes]) -> None:
        """See `protocols.FileStore`."""
        assert all("/" not in name and not name.startswith(".") for name in (owner, *files)), "no name for a file"
        self.kept[owner] = dict(files)

    async def read(self, owner: str, name: str) -> bytes:
        """See `protocols.FileStore`."""
        try:
            return self.kept[owner][name]
        except KeyError as error:
            raise NotFoundError(f"{name} of {owner} is not kept") from error

    def folder(self, owner: str) -> Path | None:
        """A path at which nothing is."""
        return Path("/nowhere") / owner if owner in self.kept else None

    async def owners(self) -> Sequence[str]:
        """See `protocols.FileStore`."""
        return sorted(self.kept)

    async def remove(self, owner: str) -> None:
        """See `protocols.FileStore`."""
        self.kept.pop(owner, None)


_: type[FileStore] = FakeFileStore
