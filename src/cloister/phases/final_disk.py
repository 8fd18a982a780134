"""The disk that an agent left: kept when its attempt is over, and where an attempt of a follow-up starts.

No script of setup, no secret and no wider network than the agent's ever meets it.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from cloister.errors import CloisterError, NotFoundError
from cloister.journal import Journal
from cloister.model.event import FinalDiskKept, FinalDiskMissed, FinalDiskResumed
from cloister.model.sandbox import SandboxSpec
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord, final_disk_of
from cloister.model.task import CHECK, Attempt, Outcome
from cloister.protocols import Sandbox, SandboxBackend, SnapshotCatalog

_log = structlog.get_logger(__name__)


async def resume(
    attempt: Attempt,
    spec: SandboxSpec,
    journal: Journal,
    *,
    catalog: SnapshotCatalog,
    backend: SandboxBackend,
    now: datetime,
) -> Sandbox | None:
    """Make the sandbox of the disk that the attempt goes on from; None, and told why, when that is not there.

    A former worker's sandbox is found again, whatever has become of the disk meanwhile.
    """
    if attempt.continues is None:
        return None
    former = attempt.continues.attempt
    key = final_disk_of(former)
    begun = attempt.retry > 0 and attempt.sandbox in await backend.list()
    reason = None if begun else await _why_not(former, catalog, backend, now)
    if reason is None:
        try:
            sandbox = await backend.create(attempt.sandbox, replace(spec, snapshot=key))
        except NotFoundError as error:
            reason = str(error)
        else:
            if sandbox.stands_on == key:
                journal.record(FinalDiskResumed(key=key, continues=former))
                return sandbox
    if not begun:
        journal.record(FinalDiskMissed(continues=former, reason=reason or "its disk is gone"))
    return None


async def keep(
    attempt: Attempt,
    outcome: Outcome,
    sandbox: Sandbox,
    recipe: SnapshotRecipe,
    journal: Journal,
    *,
    catalog: SnapshotCatalog,
    now: datetime,
) -> bool:
    """Keep the disk of an attempt that somebody may go on from, for as long as its environment's cache.

    That it cannot be kept fails nothing: a follow-up then starts without it. No container may run.
    """
    task = attempt.task
    seconds = task.environment.cache_ttl_seconds
    if outcome.change is None or task.agent == CHECK or seconds <= 0:
        return False
    key, expires_at = final_disk_of(attempt.id), now + timedelta(seconds=seconds)
    try:
        below = await sandbox.keep_final_disk(key)
        await catalog.add(
            SnapshotRecord(
                key=key,
                environment=task.environment.name,
                repository=task.repository.address,
                commit=task.revision.commit,
                parts=recipe.parts,
                created_at=now,
                expires_at=expires_at,
                below=below,
                attempt=attempt.id,
            )
        )
    except (CloisterError, OSError) as error:
        _log.error("the final disk was not kept", attempt=attempt.id, error=str(error))
        return False
    journal.record(FinalDiskKept(key=key, expires_at=expires_at.isoformat()))
    return True


async def forget(attempt: Attempt, *, catalog: SnapshotCatalog, backend: SandboxBackend) -> None:
    """Remove what a worker that was killed kept of an attempt that left nothing after all."""
    key = final_disk_of(attempt.id)
    if await catalog.find(key) is not None or await backend.has_snapshot(key):
        await backend.remove_snapshot(key)
        await catalog.remove(key)


async def _why_not(former: str, catalog: SnapshotCatalog, backend: SandboxBackend, now: datetime) -> str | None:
    """Say why the disk cannot be started from; None when it can."""
    key = final_disk_of(former)
    record = await catalog.find(key)
    if record is None:
        return "its disk is not kept any more"
    if record.expires_at <= now:
        return "its disk has expired"
    return await backend.flaw_of_snapshot(key)
