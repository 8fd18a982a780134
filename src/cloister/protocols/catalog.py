"""What is kept for later tasks: disks and environments."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from cloister.model.snapshot import SnapshotKey, SnapshotRecord
from cloister.model.stored_environment import StoredEnvironment


class SnapshotCatalog(Protocol):
    """What is known of kept snapshots. The disks themselves are the backend's."""

    async def find_newest(self, environment: str, repository: str, *, ref: str | None = None) -> SnapshotRecord | None:
        """The newest record of that pair that all refs share, or is that ref's own; expired ones included.

        Never that of an attempt's final disk.
        """
        ...

    async def find(self, key: SnapshotKey) -> SnapshotRecord | None:
        """The record of that key."""
        ...

    async def add(self, record: SnapshotRecord) -> None:
        """Remember, or replace what was remembered under that key."""
        ...

    async def mark_used(self, keys: Collection[SnapshotKey], at: datetime) -> None:
        """Remember when they were used. Absent is not an error."""
        ...

    async def set_size(self, key: SnapshotKey, size_bytes: int) -> None:
        """Remember how large it is. Absent is not an error."""
        ...

    async def remove(self, key: SnapshotKey) -> None:
        """Forget. Absent is not an error."""
        ...

    async def list(self) -> Sequence[SnapshotRecord]:
        """All, newest first."""
        ...


class EnvironmentStore(Protocol):
    """Stored environments. A version never changes; those of a deleted name stay readable."""

    async def add(
        self, name: str, text: str, *, origin: str, created_at: datetime, after: int | None
    ) -> StoredEnvironment:
        """Store the next version; synced to disk when this returns.

        `after` is the newest version that the caller knows, None when there is to be none that is not deleted.
        ConflictError when that is not so; of concurrent callers who know the same, one succeeds. Versions count from
        1, and go on when a deleted name comes back.
        """
        ...

    async def find(self, name: str, version: int | None = None) -> StoredEnvironment | None:
        """That version, deleted or not; without one the newest, and None when the name is deleted."""
        ...

    async def list(self) -> Sequence[StoredEnvironment]:
        """The newest version of every name that is not deleted, by name."""
        ...

    async def versions(self, name: str) -> Sequence[StoredEnvironment]:
        """Every version of a name, newest first, also when it is deleted."""
        ...

    async def delete(self, name: str, *, deleted_at: datetime) -> bool:
        """Take the name out of use; synced to disk when this returns. False when it is not in use."""
        ...
