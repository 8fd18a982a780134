"""Removes kept disks, each before the one that it stands on."""

from collections.abc import Sequence
from contextlib import suppress

from cloister.errors import ConflictError
from cloister.model.snapshot import SnapshotRecord
from cloister.protocols import SandboxBackend, SnapshotCatalog


async def remove_snapshots(
    records: Sequence[SnapshotRecord], catalog: SnapshotCatalog, backend: SandboxBackend
) -> Sequence[SnapshotRecord]:
    """Remove these, and return those that were: not one that a sandbox, or another that stays, stands on."""
    removed = []
    for record in sorted(records, key=lambda record: record.below is None):
        with suppress(ConflictError):
            await backend.remove_snapshot(record.key)
            await catalog.remove(record.key)
            removed.append(record)
    return removed
