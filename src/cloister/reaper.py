"""Removes what nobody owns any more: strays of killed workers, and snapshots past their time or their room."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import anyio
import structlog

from cloister.errors import CloisterError, ConflictError, NotFoundError
from cloister.model.bundle import KEPT_UNUSED
from cloister.model.sandbox import attempted_sandbox
from cloister.model.snapshot import SnapshotRecord, depth_of
from cloister.model.task import TaskId, TaskState, task_of_given
from cloister.model.task_filter import TaskFilter
from cloister.protocols import FileStore, Forge, SandboxBackend, SnapshotCatalog, TaskStore
from cloister.removal import remove_snapshots, with_those_above

FIRST_LOOK_SECONDS = 0.5
GIVEN_GRACE = timedelta(hours=1)
MOST_FINAL_DISKS = 200
"""Of attempts, on one node: each is looked at whenever a command opens it."""
LONGEST_LOOK_SECONDS = 60.0
"""Between two looks for the size of a snapshot that is being counted."""

_DAY_SECONDS = 24 * 3600.0

_log = structlog.get_logger(__name__)


async def destroy_strays(store: TaskStore, backend: SandboxBackend) -> int:
    """Destroy every sandbox whose attempt is over, and return how many there were."""
    # In this order: a sandbox made in between belongs to an attempt that is in the second list.
    found = await backend.list()
    live = set(await store.live_sandboxes())
    strays = [name for name in found if attempted_sandbox(name) not in live]
    for name in strays:
        await backend.destroy(name)
    return len(strays)


async def forget_given_to_nobody(store: TaskStore, files: FileStore, now: datetime) -> int:
    """Remove files that came with a prompt which was never accepted, because who submitted it was killed meanwhile.

    Returns of how many prompts. Those of the last hour stay: somebody may be about to submit theirs.
    """
    removed = 0
    for owner in await files.owners(before=now - GIVEN_GRACE):
        if (task := task_of_given(owner)) is not None and owner not in await _given_with(store, task):
            await files.remove(owner)
            removed += 1
    return removed


async def forget_unused_bundles(store: TaskStore, forge: Forge, now: datetime) -> int:
    """Remove repositories that came as bundles and were not used for KEPT_UNUSED, and return how many.

    Those of a task that is not over stay, however long it waits or runs.
    """
    before = now - KEPT_UNUSED
    removed = 0
    for address in await forge.unused_bundles(before):
        states = (TaskState.QUEUED, TaskState.RUNNING)
        if any([await store.list(limit=1, only=TaskFilter(state=state, text=address)) for state in states]):
            continue
        removed += await forge.forget_bundle(address, before)
    return removed


async def forget_unused_bundles_daily(store: TaskStore, forge: Forge, now: Callable[[], datetime]) -> None:
    """Do so once a day, from now on, until cancelled."""
    while True:
        try:
            await forget_unused_bundles(store, forge, now())
        except (CloisterError, OSError) as error:  # tomorrow is another day
            _log.error("unused bundles could not be removed", error=str(error))
        await anyio.sleep(_DAY_SECONDS)


async def _given_with(store: TaskStore, task: TaskId) -> Collection[str | None]:
    try:
        return {turn.given for turn in (await store.get(task)).turns}
    except NotFoundError:
        return ()


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
    """Remove snapshots past their time that nothing stands on, and return how many."""
    expired = [record for record in await catalog.list() if record.expires_at <= now]
    return len(await remove_snapshots(expired, catalog, backend))


async def evict_snapshots(catalog: SnapshotCatalog, backend: SandboxBackend, most_bytes: int) -> int:
    """Remove the disks that were used longest ago until the others fit, and return how many.

    One is used as long as another that stands on it. One that a sandbox, or another disk that stays, stands on is left.
    One whose size is not counted yet takes no room. Of final disks no more than MOST_FINAL_DISKS stay.
    """
    records = await catalog.list()
    known = {record.key: record for record in records}
    taken = sum(record.size_bytes or 0 for record in records)
    too_many = sum(record.attempt is not None for record in records) - MOST_FINAL_DISKS
    evicted = 0
    for record in sorted(records, key=lambda record: (_last_use(record, records), -depth_of(record, known))):
        has_to_go = taken > most_bytes or (too_many > 0 and record.attempt is not None)
        if has_to_go and await remove_snapshots([record], catalog, backend):
            taken -= record.size_bytes or 0
            too_many -= record.attempt is not None
            evicted += 1
    return evicted


def _last_use(record: SnapshotRecord, records: Sequence[SnapshotRecord]) -> datetime:
    return max(each.used_at for each in with_those_above([record], records))


async def note_sizes(catalog: SnapshotCatalog, backend: SandboxBackend) -> bool:
    """Write down the sizes that were counted since, and return whether all are known."""
    unknown = [record.key for record in await catalog.list() if record.size_bytes is None]
    sizes = {key: await backend.size_of_snapshot(key) for key in unknown}
    for key, size in sizes.items():
        if size is not None:
            await catalog.set_size(key, size)
    return None not in sizes.values()


class SnapshotReaper:
    """Keeps the snapshots of this node within their time and their room, for as long as a worker runs."""

    def __init__(
        self, catalog: SnapshotCatalog, backend: SandboxBackend, *, most_bytes: int, now: Callable[[], datetime]
    ) -> None:
        self._catalog = catalog
        self._backend = backend
        self._most_bytes = most_bytes
        self._now = now
        self._woken = anyio.Event()

    def wake(self) -> None:
        """A snapshot was kept."""
        self._woken.set()

    async def reap(self) -> bool:
        """Remove what has to go; return whether the sizes of all that stay are known."""
        records, now = await self._catalog.list(), self._now()
        sizes = [record.size_bytes for record in records]
        final = sum(record.attempt is not None for record in records)
        fits = sum(size or 0 for size in sizes) <= self._most_bytes and final <= MOST_FINAL_DISKS
        is_tidy = None not in sizes and fits
        if is_tidy and all(record.expires_at > now for record in records):
            return True  # the one look that every command pays for
        await expire_snapshots(self._catalog, self._backend, now)
        all_known = await note_sizes(self._catalog, self._backend)
        await evict_snapshots(self._catalog, self._backend, self._most_bytes)
        return all_known

    async def run(self) -> None:
        """Reap whenever a snapshot was kept and its size is known, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken = anyio.Event()
            pause = FIRST_LOOK_SECONDS
            while not await self._try_to_reap() and not self._woken.is_set():
                await anyio.sleep(pause)
                pause = min(2 * pause, LONGEST_LOOK_SECONDS)

    async def _try_to_reap(self) -> bool:
        try:
            return await self.reap()
        except (CloisterError, OSError) as error:  # attempts go on; the next snapshot that is kept is another try
            _log.error("snapshots could not be reaped", error=str(error))
            return True
