"""Phase 1: a sandbox for this one attempt, from a saved disk when one fits, else from the image."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime

import anyio

from cloister.errors import ConflictError, NotFoundError, SandboxError, TaskFailedError
from cloister.journal import Journal
from cloister.model.event import CatchingMissed, SnapshotAwaited, SnapshotHit, SnapshotMissed
from cloister.model.network import REGISTRIES
from cloister.model.sandbox import SandboxSpec
from cloister.model.secret import DeliveredSecrets
from cloister.model.snapshot import SnapshotKey, SnapshotRecipe, recipe_of
from cloister.model.task import Attempt
from cloister.protocols import Forge, ImageStore, Sandbox, SandboxBackend, SnapshotCatalog
from cloister.readiness import Fit, Needs, find_fit, find_needs

_MOST_LOOKS = 3
"""For a kept disk: one may be removed in the moment between look and use."""


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
    building: ExitStack,
    now: datetime,
    seconds_left: float,
) -> Provisioned:
    """Find the image, the mirror and the saved disk, and make the sandbox of them.

    Of several attempts that miss the same disk one goes on, and the others wait until `building` is closed.
    TaskFailedError when the time left was too short for that.
    """
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
    search = _Search(attempt=attempt, recipe=recipe, catalog=catalog, backend=backend, now=now)
    sandbox = await _make_sandbox(
        search,
        SandboxSpec(
            image=image.digest,
            snapshot=None,
            directory=task.repository.directory,
            mirror=mirror,
            limits=environment.limits,
        ),
        journal,
        building,
        seconds_left,
    )
    if not sandbox.catches:
        journal.record(CatchingMissed())
    registries = image.registries if REGISTRIES in environment.network.allow else ()
    return Provisioned(sandbox=sandbox, recipe=recipe, needs=needs, registries=registries)


async def _make_sandbox(
    search: "_Search", spec: SandboxSpec, journal: Journal, building: ExitStack, seconds_left: float
) -> Sandbox:
    key = search.recipe.key
    for _ in range(_MOST_LOOKS):
        reason = await search.find_or_claim(journal, building, seconds_left)
        if reason:
            journal.record(SnapshotMissed(key=key, reason=reason))
        try:
            sandbox = await search.backend.create(
                search.attempt.sandbox, replace(spec, snapshot=None if reason else key)
            )
        except NotFoundError as error:  # removed since we looked: not the task's doing
            if reason:
                raise SandboxError(str(error)) from error
            continue
        if not reason:
            journal.record(SnapshotHit(key=key))
        return sandbox
    raise SandboxError(f"the snapshot {key} was there, and could not be used")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """For the disk that an attempt may start from."""

    attempt: Attempt
    recipe: SnapshotRecipe
    catalog: SnapshotCatalog
    backend: SandboxBackend
    now: datetime

    async def find_or_claim(self, journal: Journal, building: ExitStack, seconds_left: float) -> str | None:
        """Return None when there is one; else why not, once it is this attempt's turn to make it."""
        if not self.attempt.task.use_cache:
            return "cache not used"
        if (await self._look()).reason is None:
            return None
        await self._claim(journal, building, seconds_left)
        fit = await self._look()  # again: another attempt may have kept it since
        found = fit.nearest
        is_unusable = fit.reason is not None and found is not None and found.key == self.recipe.key
        if is_unusable and not await self._remove(self.recipe.key):
            building.close()  # this attempt cannot keep one under that key, so nobody shall wait for it
        return fit.reason

    async def _look(self) -> Fit:
        task = self.attempt.task
        return await find_fit(
            self.recipe, task.environment, task.repository, catalog=self.catalog, backend=self.backend, now=self.now
        )

    async def _claim(self, journal: Journal, building: ExitStack, seconds_left: float) -> None:
        key = self.recipe.key
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
        try:
            await self.backend.remove_snapshot(key)
        except ConflictError:  # a later attempt, or the reaper, removes it
            return False
        await self.catalog.remove(key)
        return True
