"""What a repository says of itself: its branches, what a task on it needs, what it tells other services."""

from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from cloister.environments import Environments
from cloister.errors import NotFoundError, UsageError
from cloister.model.environment import Environment
from cloister.model.forge import ForgeBranch
from cloister.model.request import EnvironmentChoice
from cloister.model.sandbox import WORKSPACE, ImageDigest
from cloister.model.snapshot import recipe_of
from cloister.model.task import Repository, Revision
from cloister.preview import CacheAnswer, OwnDisk, Preview, find_last_miss
from cloister.protocols import Forge, ForgeHost, ImageKeeper, SandboxBackend, SnapshotCatalog, TaskStore, Vault
from cloister.readiness import Needs, find_fit, find_needs, find_own_recipe
from cloister.repository_address import parse_repository
from cloister.request_checks import check_ref

if TYPE_CHECKING:
    from cloister.importing import ImportedEnvironment


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """The part of the front door that looks at repositories. Nothing of them is executed."""

    forge: Forge
    host: ForgeHost | None
    """Where repositories are that have pull requests."""
    environments: Environments
    images: ImageKeeper
    vault: Vault
    catalog: SnapshotCatalog
    backend: SandboxBackend
    store: TaskStore
    now: Callable[[], datetime]
    """Aware, UTC."""

    async def take_bundle(self, address: str, bundle: AsyncIterable[bytes], *, head: str | None = None) -> str:
        """Keep a repository that a caller sends, and return its address. Errors as for `Forge.take_bundle`."""
        repository = parse_repository(address)
        check_ref(head)
        await self.forge.take_bundle(repository, bundle, head=head)
        return repository.address

    async def branches(self, repository: str, *, guarded: bool = True) -> Sequence[ForgeBranch]:
        """Return the branches of a repository, the first thousand: those that its forge tells of, or else git.

        Errors as for `Forge.resolve`.
        """
        found = parse_repository(repository, guarded=guarded)
        if self.host is not None and self.host.covers(found):
            with suppress(UsageError):  # without a login there, a public one is still to be read
                return await self.host.branches(found)
        return await self.forge.branches(found)

    async def preview(
        self, repository: str, ref: str | None, environment: EnvironmentChoice | None, *, guarded: bool = True
    ) -> Preview:
        """Say what a task on that repository would do to be ready, without accepting one.

        Errors as for `Intake.submit`.
        """
        check_ref(ref)
        found = parse_repository(repository, guarded=guarded)
        revision = await self.forge.resolve(found, ref)
        read, source = await self.environments.read(environment, found, revision)
        needs = await self.needs(found, revision, read, await self.images.find(read.image))
        return Preview(environment=read, source=source, repository=found, revision=revision, needs=needs)

    async def import_environment(
        self, repository: str, ref: str | None, path: str | None = None, *, guarded: bool = True
    ) -> "ImportedEnvironment":
        """Make an environment file of what the repository says to other services, at the commit that `ref` is.

        `path` says which of its files is read, by default the first choice of those that are there. Nothing is
        executed or written. NotFoundError when there is no such file, UsageError when it cannot be read.
        """
        from cloister.importing import CANDIDATES, convert, find_sources  # no start waits for them

        check_ref(ref)
        found = parse_repository(repository, guarded=guarded)
        revision = await self.forge.resolve(found, ref)
        commit = revision.commit
        sources = find_sources(await self.forge.find_files(found, commit, CANDIDATES))
        chosen = path or next(iter(sources), None)
        if chosen not in sources:
            looked_for = path or ", ".join(CANDIDATES)
            there = f"; there is {', '.join(sources)}" if sources else ""
            raise NotFoundError(
                f"nothing to import at {revision.ref} ({commit[:12]}): no {looked_for}{there}",
                hint="automatic setup may do: cloister env show",
            )
        raw = await self.forge.read_file(found, commit, chosen)
        return convert(
            raw or b"",
            path=chosen,
            commit=commit,
            workspace=f"{WORKSPACE}/{found.directory}",
            others=[source for source in sources if source != chosen],
            default_name=found.address,
        )

    async def why(
        self, repository: str, ref: str | None, environment: EnvironmentChoice | None, *, guarded: bool = True
    ) -> CacheAnswer:
        """Say whether a task on that repository would find a kept disk, and why not. Errors as for `preview`.

        Where the ref declares other dependencies than the default branch, about the disk that is its own.
        """
        preview = await self.preview(repository, ref, environment, guarded=guarded)
        recipe = recipe_of(
            preview.environment,
            repository=preview.repository.address,
            image_digest=await self.images.find(preview.environment.image) or "not here yet",
            secret_versions=await self.vault.versions(preview.environment),
            setup_script=preview.needs.scripts.setup,
            dependencies=preview.needs.scripts.dependencies,
            versions=preview.needs.toolchains.versions,
        )
        place = (preview.environment, preview.repository)
        fit = await find_fit(recipe, *place, catalog=self.catalog, backend=self.backend, now=self.now())
        if fit.nearest is not None:
            digest = await self.backend.digest_of_snapshot(fit.nearest.key)
            fit = replace(fit, nearest=replace(fit.nearest, digest=digest))
        own, name = find_own_recipe(recipe, preview.needs, preview.revision), preview.revision.ref
        own_fit = None
        if own is not None:
            own_fit = await find_fit(own, *place, catalog=self.catalog, backend=self.backend, now=self.now(), ref=name)
        return CacheAnswer(
            recipe=recipe,
            fit=fit,
            own=None if own is None or own_fit is None else OwnDisk(ref=name, key=own.key, reason=own_fit.reason),
            last_miss=await find_last_miss(*place, store=self.store),
        )

    async def needs(
        self, repository: Repository, revision: Revision, environment: Environment, digest: ImageDigest | None
    ) -> Needs:
        """See `find_needs`: what an image that is not built yet lacks is found out when it is."""
        image = await self.images.describe(digest) if digest else None
        return await find_needs(self.forge, repository, revision, environment, image)
