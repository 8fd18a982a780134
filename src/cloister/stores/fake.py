"""Stores of environments and of the audit that keep them in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from cloister.model.audit import AuditEntry, AuditFilter
from cloister.model.stored_environment import StoredEnvironment, conflict
from cloister.protocols import AuditStore, EnvironmentStore


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


class FakeAuditStore:
    """Entries, oldest first."""

    def __init__(self) -> None:
        self.kept: list[AuditEntry] = []

    async def add(self, entry: AuditEntry) -> None:
        """See `protocols.AuditStore`."""
        assert entry.at.tzinfo is not None, "a naive time cannot be stored"
        assert entry.number == 0, "the store numbers them"
        self.kept.append(replace(entry, number=len(self.kept) + 1))

    async def list(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> Sequence[AuditEntry]:
        """See `protocols.AuditStore`."""
        older = [entry for entry in reversed(self.kept) if before is None or entry.number < before]
        return [entry for entry in older if _is_wanted(entry, wanted)][:limit]


def _is_wanted(entry: AuditEntry, wanted: AuditFilter) -> bool:
    return (
        wanted.who in (None, entry.who)
        and entry.action.startswith(wanted.action or "")
        and (wanted.since is None or entry.at >= wanted.since)
        and (wanted.until is None or entry.at < wanted.until)
        and (entry.is_refused or not wanted.refused)
    )


_audit: type[AuditStore] = FakeAuditStore
