"""Phase 1: a sandbox for this one attempt, from a saved disk when one fits, else from the image."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

import anyio

from cloister.errors import NotFoundError, SandboxError, TaskFailedError
from cloister.journal import Journal
from cloister.model.environment import Environment
from cloister.model.event import (
    CatchingMissed,
    LargeFilesFetched,
    SandboxProvisioned,
    SnapshotAwaited,
    SnapshotHit,
    SnapshotMissed,
    SubmodulesFetched,
)
from cloister.model.image import Image
from cloister.model.network import REGISTRIES
from cloister.model.sandbox import SandboxSpec
from cloister.model.secret import DeliveredSecrets
from cloister.model.snapshot import SnapshotKey, SnapshotRecipe, recipe_of
from cloister.model.task import Attempt, Task
from cloister.phases import final_disk
from cloister.protocols import Forge, ImageStore, Sandbox, SandboxBackend, SnapshotCatalog
from cloister.readiness import Fit, Needs, find_fit, find_needs, find_own_recipe
from cloister.removal import remove_snapshots, with_those_above

_MOST_LOOKS = 3
"""For a kept disk: one may be removed in the moment between look and use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What setup needs."""

    sandbox: Sandbox
    resumed: bool
    """It stands on the disk that an agent left: nothing of setup may run there."""
    spec: SandboxSpec
    """What it was made of, but for the snapshot."""
    recipe: SnapshotRecipe
    """Names the disk that setup makes."""
    own: SnapshotRecipe | None
    """Names the one that it makes for the ref alone; None when the ref needs none, or must not have one."""
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
    building: ExitStack,
    now: datetime,
    seconds_left: float,
) -> Provisioned:
    """Find the image, the mirror and the saved disk, and make the sandbox of them.

    An attempt of a follow-up starts from the disk that it goes on from, when that is there.

    Of several attempts that miss the same disk one goes on, and the others wait until `building` is closed.
    TaskFailedError when the time left was too short for that.
    """
    backend.expect()
    task = attempt.task
    environment = task.environment
    image = await images.describe(await images.ensure(environment.image))
    mirror = await forge.mirror(task.repository, task.revision.commit)
    await _fetch_more(task, journal, forge)
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
    own = find_own_recipe(recipe, needs, task.revision)
    search = _Search(attempt=attempt, recipe=recipe, own=own, catalog=catalog, backend=backend, now=now)
    spec = SandboxSpec(
        image=image.digest,
        snapshot=None,
        directory=task.repository.directory,
        mirror=mirror,
        limits=environment.limits,
    )
    sandbox = await final_disk.resume(attempt, spec, journal, catalog=catalog, backend=backend, now=now)
    resumed = sandbox is not None
    if sandbox is None:
        sandbox = await _make_sandbox(search, spec, journal, building, seconds_left)
    registries = image.registries if REGISTRIES in environment.network.allow else ()
    journal.record(_told_of(environment, image, needs, backend))
    if not sandbox.catches:
        journal.record(CatchingMissed())
    return Provisioned(
        sandbox=sandbox,
        resumed=resumed,
        spec=spec,
        recipe=recipe,
        own=own,
        needs=needs,
        registries=registries,
    )


async def _fetch_more(task: Task, journal: Journal, forge: Forge) -> None:
    """Have the mirror hold what the commits are to be completed with: large files, and submodules."""
    revision = task.revision
    commits = (revision.default_commit, revision.commit)
    large = await forge.fetch_large_files(task.repository, commits)
    if large.files:
        journal.record(LargeFilesFetched(files=large.files, size=large.size, left=large.left, reason=large.reason))
    submodules = await forge.fetch_submodules(task.repository, commits, revision.default_commit)
    if submodules.there or submodules.left:
        journal.record(SubmodulesFetched(there=submodules.there, left=submodules.left))


async def _make_sandbox(
    search: "_Search", spec: SandboxSpec, journal: Journal, building: ExitStack, seconds_left: float
) -> Sandbox:
    for _ in range(_MOST_LOOKS):
        found = await search.find_or_claim(journal, building, seconds_left)
        if found.reason:
            journal.record(SnapshotMissed(key=search.recipe.key, reason=found.reason))
        try:
            sandbox = await search.backend.create(search.attempt.sandbox, replace(spec, snapshot=found.key))
        except NotFoundError as error:  # removed since we looked: not the task's doing
            if found.key is None:
                raise SandboxError(str(error)) from error
            continue
        if found.key is not None:
            journal.record(SnapshotHit(key=found.key, ref=found.ref))
        return sandbox
    raise SandboxError(f"the snapshot {search.recipe.key} was there, and could not be used")


def _told_of(environment: Environment, image: Image, needs: Needs, backend: SandboxBackend) -> SandboxProvisioned:
    def digest(script: str | None) -> str | None:
        return None if script is None else sha256(script.encode()).hexdigest()

    return SandboxProvisioned(
        image=environment.image,
        image_digest=image.digest,
        runtime=backend.runtime,
        setup=digest(needs.scripts.setup),
        maintenance=digest(needs.scripts.maintenance),
        catch_up=digest(needs.scripts.catch_up),
        not_enforced=tuple(backend.not_enforced),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A kept disk to start from, or why there is none."""

    key: SnapshotKey | None = None
    ref: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """For the disk that an attempt may start from."""

    attempt: Attempt
    recipe: SnapshotRecipe
    own: SnapshotRecipe | None
    catalog: SnapshotCatalog
    backend: SandboxBackend
    now: datetime

    async def find_or_claim(self, journal: Journal, building: ExitStack, seconds_left: float) -> _Found:
        """Return a disk when there is one; else why not, once it is this attempt's turn to make it."""
        if not self.attempt.task.use_cache:
            return _Found(reason="cache not used")
        if (await self._look(self.recipe)).reason is not None:
            reason = await self._claim(self.recipe, journal, building, seconds_left)
            if reason is not None:
                return _Found(reason=reason)
            building.close()
        if self.own is not None:
            is_there = (await self._look(self.own)).reason is None
            if is_there or await self._claim(self.own, journal, building, seconds_left) is None:
                building.close()
                return _Found(key=self.own.key, ref=self.attempt.task.revision.ref)
        return _Found(key=self.recipe.key)

    async def _look(self, recipe: SnapshotRecipe) -> Fit:
        task = self.attempt.task
        return await find_fit(
            recipe,
            task.environment,
            task.repository,
            catalog=self.catalog,
            backend=self.backend,
            now=self.now,
            ref=task.revision.ref if recipe is self.own else None,
        )

    async def _claim(
        self, recipe: SnapshotRecipe, journal: Journal, building: ExitStack, seconds_left: float
    ) -> str | None:
        """Wait for the turn to make the disk. None when another attempt has kept it by then; else why it is missing."""
        await self._wait(recipe.key, journal, building, seconds_left)
        fit = await self._look(recipe)
        is_unusable = fit.reason is not None and fit.nearest is not None and fit.nearest.key == recipe.key
        if is_unusable and not await self._remove(recipe.key):
            building.close()  # this attempt cannot keep one under that key, so nobody shall wait for it
        return fit.reason

    async def _wait(self, key: SnapshotKey, journal: Journal, building: ExitStack, seconds_left: float) -> None:
        claim = await self.backend.claim_build(key, wait=False)
        if claim is None and not await self._has_begun():
            journal.record(SnapshotAwaited(key=key))
            with anyio.move_on_after(seconds_left):
                claim = await self.backend.claim_build(key, wait=True)
            if claim is None:
                raise TaskFailedError("limits.time was used up while another attempt was making the same disk")
        if claim is not None:
            building.enter_context(claim)

    async def _has_begun(self) -> bool:
        """Whether a former worker has made the sandbox: what runs there goes on, and does not wait."""
        return self.attempt.retry > 0 and self.attempt.sandbox in await self.backend.list()

    async def _remove(self, key: SnapshotKey) -> bool:
        """Make room for the disk that setup makes anew under the same key. False while a sandbox stands on it."""
        known = await self.catalog.list()
        own = [record for record in known if record.key == key]
        removed = await remove_snapshots(with_those_above(own, known), self.catalog, self.backend)
        return any(record.key == key for record in removed)  # else a later attempt, or the reaper, removes it
