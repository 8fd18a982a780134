"""Phase 1: a sandbox for this one attempt, from a saved disk when one fits, else from the image."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloister.detection import SetupScripts, choose_scripts
from cloister.errors import ConflictError, NotFoundError, SandboxError
from cloister.journal import Journal
from cloister.model.event import CatchingMissed, SnapshotHit, SnapshotMissed
from cloister.model.network import REGISTRIES
from cloister.model.sandbox import SandboxName, SandboxSpec
from cloister.model.secret import DeliveredSecrets
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord, reason_of_miss, recipe_of, within_ttl
from cloister.model.task import Attempt, Task
from cloister.protocols import Forge, ImageStore, Sandbox, SandboxBackend, SnapshotCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What setup needs."""

    sandbox: Sandbox
    recipe: SnapshotRecipe
    """Names the disk that setup makes."""
    scripts: SetupScripts
    """What setup may have to run."""
    registries: Sequence[str]
    """Hosts that the image's own package clients use, for policies that allow those."""


async def run(
    attempt: Attempt,
    secrets: DeliveredSecrets,
    journal: Journal,
    *,
    images: ImageStore,
    forge: Forge,
    catalog: SnapshotCatalog,
    backend: SandboxBackend,
    now: datetime,
) -> Provisioned:
    """Find the image, the mirror and the saved disk, and make the sandbox of them."""
    task = attempt.task
    environment = task.environment
    image = await images.ensure(environment.image)
    mirror = await forge.mirror(task.repository, task.revision.commit)
    scripts = await _scripts_for(task, forge)
    recipe = recipe_of(
        environment,
        repository=task.repository.address,
        image_digest=image,
        secret_versions=secrets.versions,
        setup_script=scripts.setup,
        dependencies=scripts.dependencies,
    )
    reason = await _reason_of_miss(attempt, recipe, catalog, backend, now) if task.use_cache else "cache not used"
    if reason:
        journal.record(SnapshotMissed(key=recipe.key, reason=reason))
    else:
        journal.record(SnapshotHit(key=recipe.key))
    spec = SandboxSpec(
        image=image,
        snapshot=None if reason else recipe.key,
        directory=task.repository.directory,
        mirror=mirror,
        limits=environment.limits,
    )
    sandbox = await _create(attempt.sandbox, spec, backend)
    if not sandbox.catches:
        journal.record(CatchingMissed())
    registries = await images.registries(image) if REGISTRIES in environment.network.allow else ()
    return Provisioned(sandbox=sandbox, recipe=recipe, scripts=scripts, registries=registries)


async def _scripts_for(task: Task, forge: Forge) -> SetupScripts:
    """Look at what the project itself says, at the default branch's tip and at the task's commit."""
    revision = task.revision
    base = await forge.project_files(task.repository, revision.default_commit)
    is_base = revision.commit == revision.default_commit
    asked = base if is_base else await forge.project_files(task.repository, revision.commit)
    return choose_scripts(task.environment, base=base, asked=asked)


async def _create(name: SandboxName, spec: SandboxSpec, backend: SandboxBackend) -> Sandbox:
    try:
        return await backend.create(name, spec)
    except NotFoundError as error:  # removed since we looked: not the task's doing
        raise SandboxError(str(error)) from error


async def _reason_of_miss(
    attempt: Attempt, recipe: SnapshotRecipe, catalog: SnapshotCatalog, backend: SandboxBackend, now: datetime
) -> str | None:
    task = attempt.task
    record = await catalog.find(recipe.key)
    if record is not None:
        record = within_ttl(record, task.environment.cache_ttl_seconds)
    if record is not None and record.expires_at > now and await backend.has_snapshot(recipe.key):
        return None
    if record is not None and record.expires_at <= now:
        await _remove_expired(record, catalog, backend)
    nearest = record or await catalog.find_newest(task.environment.name, task.repository.address)
    return reason_of_miss(recipe, nearest, now=now)


async def _remove_expired(record: SnapshotRecord, catalog: SnapshotCatalog, backend: SandboxBackend) -> None:
    """Make room for the disk that setup makes anew under the same key."""
    with contextlib.suppress(ConflictError):  # a sandbox stands on it; a later attempt, or the reaper, removes it
        await backend.remove_snapshot(record.key)
        await catalog.remove(record.key)
