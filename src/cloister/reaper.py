"""Removes what nobody owns any more: strays of killed workers, and snapshots past their time."""

from contextlib import suppress
from datetime import datetime

from cloister.errors import ConflictError
from cloister.protocols import SandboxBackend, SnapshotCatalog, TaskStore


async def destroy_strays(store: TaskStore, backend: SandboxBackend) -> int:
    """Destroy every sandbox whose attempt is over, and return how many there were."""
    # In this order: a sandbox made in between belongs to an attempt that is in the second list.
    found = await backend.list()
    live = set(await store.live_sandboxes())
    strays = [name for name in found if name not in live]
    for name in strays:
        await backend.destroy(name)
    return len(strays)


async def forget_unknown_snapshots(catalog: SnapshotCatalog, backend: SandboxBackend) -> int:
    """Remove kept disks that no record tells of, such as a killed worker's, and return how many."""
    removed = 0
    for key in await backend.snapshots():
        if await catalog.find(key) is None:
            with suppress(ConflictError):  # a sandbox stands on it
                await backend.remove_snapshot(key)
                removed += 1
    return removed


async def expire_snapshots(catalog: SnapshotCatalog, backend: SandboxBackend, now: datetime) -> int:
    """Remove snapshots past their time that no sandbox stands on, and return how many."""
    removed = 0
    for record in await catalog.list():
        if record.expires_at <= now:
            try:
                await backend.remove_snapshot(record.key)
            except ConflictError:
                continue
            await catalog.remove(record.key)
            removed += 1
    return removed
