"""Phase 1: a sandbox for this one attempt, from a saved disk when one fits, else from the image."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cloister.errors import ConflictError, NotFoundError, SandboxError
from cloister.journal import Journal
from cloister.model.event import CatchingMissed, SnapshotHit, SnapshotMissed
from cloister.model.network import REGISTRIES
from cloister.model.sandbox import SandboxName, SandboxSpec
from cloister.model.secret import DeliveredSecrets
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord, recipe_of
from cloister.model.task import Attempt, Task
from cloister.protocols import Forge, ImageStore, Sandbox, SandboxBackend, SnapshotCatalog
from cloister.readiness import Needs, find_fit, find_needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What setup needs."""

    sandbox: Sandbox
    recipe: SnapshotRecipe
    """Names the disk that setup makes."""
    needs: Needs
    """What setup may have to run, and what its programs find."""
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
    image = await images.describe(await images.ensure(environment.image))
    mirror = await forge.mirror(task.repository, task.revision.commit)
    needs = await find_needs(forge, task.repository, task.revision, environment, image)
    recipe = recipe_of(
        environment,
        repository=task.repository.address,
        image_digest=image.digest,
        secret_versions=secrets.versions,
        setup_script=needs.scripts.setup,
        dependencies=needs.scripts.dependencies,
        versions=needs.toolchains.versions,
    )
    reason = await _reason_of_miss(task, recipe, catalog, backend, now)
    if reason:
        journal.record(SnapshotMissed(key=recipe.key, reason=reason))
    else:
        journal.record(SnapshotHit(key=recipe.key))
    spec = SandboxSpec(
        image=image.digest,
        snapshot=None if reason else recipe.key,
        directory=task.repository.directory,
        mirror=mirror,
        limits=environment.limits,
    )
    sandbox = await _create(attempt.sandbox, spec, backend)
    if not sandbox.catches:
        journal.record(CatchingMissed())
    registries = image.registries if REGISTRIES in environment.network.allow else ()
    return Provisioned(sandbox=sandbox, recipe=recipe, needs=needs, registries=registries)


async def _create(name: SandboxName, spec: SandboxSpec, backend: SandboxBackend) -> Sandbox:
    try:
        return await backend.create(name, spec)
    except NotFoundError as error:  # removed since we looked: not the task's doing
        raise SandboxError(str(error)) from error


async def _reason_of_miss(
    task: Task, recipe: SnapshotRecipe, catalog: SnapshotCatalog, backend: SandboxBackend, now: datetime
) -> str | None:
    if not task.use_cache:
        return "cache not used"
    fit = await find_fit(recipe, task.environment, task.repository, catalog=catalog, backend=backend, now=now)
    if fit.nearest is not None and fit.nearest.key == recipe.key and fit.nearest.expires_at <= now:
        await _remove_expired(fit.nearest, catalog, backend)
    return fit.reason


async def _remove_expired(record: SnapshotRecord, catalog: SnapshotCatalog, backend: SandboxBackend) -> None:
    """Make room for the disk that setup makes anew under the same key."""
    with contextlib.suppress(ConflictError):  # a sandbox stands on it; a later attempt, or the reaper, removes it
        await backend.remove_snapshot(record.key)
        await catalog.remove(record.key)
