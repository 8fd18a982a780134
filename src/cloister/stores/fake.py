"""A store of environments that keeps them in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from cloister.model.stored_environment import StoredEnvironment, conflict
from cloister.protocols import EnvironmentStore


class FakeEnvironmentStore:
    """Versions by name, oldest first."""

    def __init__(self) -> None:
        self._kept: dict[str, list[StoredEnvironment]] = {}

    async def add(
        self, name: str, text: str, *, origin: str, created_at: datetime, after: int | None
    ) -> StoredEnvironment:
        """See `protocols.EnvironmentStore`."""
        assert created_at.tzinfo is not None, "a naive time cannot be stored"
        newest = await self.find(name)
        if after != (newest.version if newest else None):
            raise conflict(name, newest, after)
        versions = self._kept.setdefault(name, [])
        version = len(versions) + 1
        versions.append(StoredEnvironment(name=name, version=version, text=text, origin=origin, created_at=created_at))
        return versions[-1]

    async def find(self, name: str, version: int | None = None) -> StoredEnvironment | None:
        """See `protocols.EnvironmentStore`."""
        versions = self._kept.get(name, [])
        if version is not None:
            return versions[version - 1] if 1 <= version <= len(versions) else None
        return versions[-1] if versions and not versions[-1].deleted_at else None

    async def list(self) -> Sequence[StoredEnvironment]:
        """See `protocols.EnvironmentStore`."""
        newest = [await self.find(name) for name in sorted(self._kept)]
        return [stored for stored in newest if stored]

    async def versions(self, name: str) -> Sequence[StoredEnvironment]:
        """See `protocols.EnvironmentStore`."""
        return self._kept.get(name, [])[::-1]

    async def delete(self, name: str, *, deleted_at: datetime) -> bool:
        """See `protocols.EnvironmentStore`."""
        newest = await self.find(name)
        if newest is None:
            return False
        self._kept[name][-1] = replace(newest, deleted_at=deleted_at)
        return True


_: type[EnvironmentStore] = FakeEnvironmentStore
