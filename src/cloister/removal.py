"""Removes kept disks, each before the one that it stands on."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from cloister.errors import ConflictError
from cloister.model.snapshot import SnapshotRecord, depth_of
from cloister.protocols import SandboxBackend, SnapshotCatalog


async def remove_snapshots(
    records: Sequence[SnapshotRecord], catalog: SnapshotCatalog, backend: SandboxBackend
) -> Sequence[SnapshotRecord]:
    """Remove these, and return those that were: not one that a sandbox, or another that stays, stands on."""
    removed = []
    known = {record.key: record for record in records}
    for record in sorted(records, key=lambda record: depth_of(record, known), reverse=True):
        with suppress(ConflictError):
            await backend.remove_snapshot(record.key)
            await catalog.remove(record.key)
            removed.append(record)
    return removed


def with_those_above(records: Iterable[SnapshotRecord], known: Iterable[SnapshotRecord]) -> list[SnapshotRecord]:
    """Return the records, and those of `known` that stand on one of them, on whatever is between."""
    found = {record.key: record for record in records}
    rest = [record for record in known if record.key not in found]
    while above := [record for record in rest if record.below in found]:
        found |= {record.key: record for record in above}
        rest = [record for record in rest if record.key not in found]
    return list(found.values())
