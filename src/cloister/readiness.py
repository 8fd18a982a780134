"""What a repository needs to be ready: scripts, versions of languages, and the kept disk that fits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cloister.detection import NOTHING_CHOSEN, SetupScripts, Toolchains, choose_scripts, choose_toolchains
from cloister.model.container import Foundation
from cloister.model.environment import Environment
from cloister.model.image import Image
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord, own_recipe_of, reason_of_miss, within_ttl
from cloister.model.task import Repository, Revision
from cloister.model.universal import NOTE, version_variables
from cloister.protocols import Forge, SandboxBackend, SnapshotCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a kept disk fits."""

    nearest: SnapshotRecord | None
    """The one of the very key, else the newest of this environment and repository."""
    reason: str | None
    """Why none fits; None when the nearest does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the project itself says it needs."""

    scripts: SetupScripts
    toolchains: Toolchains
    """Of the image, by the task's commit: setup at the default branch's tip runs with them too."""
    image: Mapping[str, str] = field(default_factory=dict)
    """Variables that come with the image."""
    universal: bool = False
    """Whether it has OpenAI's script, which chooses versions itself."""

    @property
    def foundation(self) -> Foundation:
        """What programs find of it, in setup and for the agent."""
        plan, toolchains = self.scripts.plan, self.toolchains
        return Foundation(
            path=(*plan.path, *toolchains.path),
            variables={**toolchains.variables, **plan.variables},
            image=self.image,
            universal=self.universal,
        )


async def find_needs(
    forge: Forge, repository: Repository, revision: Revision, environment: Environment, image: Image | None
) -> Needs:
    """Look at what the project itself says, at the default branch's tip and at the task's commit.

    Of an image that is not there yet (None) nothing is chosen. UsageError when it lacks a version that is asked for.
    """
    base = await forge.project_files(repository, revision.default_commit)
    is_base = revision.commit == revision.default_commit
    asked = base if is_base else await forge.project_files(repository, revision.commit)
    scripts = choose_scripts(environment, base=base, asked=asked, foreign=revision.foreign)
    if image is None:
        return Needs(scripts=scripts, toolchains=NOTHING_CHOSEN)
    if image.universal:
        versions = version_variables(environment.versions)
        chosen = Toolchains(notes=(NOTE,) if versions else ())
        return Needs(scripts=scripts, toolchains=chosen, image={**image.variables, **versions}, universal=True)
    toolchains = choose_toolchains(environment.versions, asked, image)
    return Needs(scripts=scripts, toolchains=toolchains, image=image.variables)


def find_own_recipe(recipe: SnapshotRecipe, needs: Needs, revision: Revision) -> SnapshotRecipe | None:
    """Return the recipe of the disk that is for this ref alone; None when the ref needs none, or must not have one."""
    scripts = needs.scripts
    if scripts.catch_up is None or revision.foreign:
        return None
    return own_recipe_of(recipe, ref=revision.ref, script=scripts.catch_up, dependencies=scripts.own_dependencies)


async def find_fit(
    recipe: SnapshotRecipe,
    environment: Environment,
    repository: Repository,
    *,
    catalog: SnapshotCatalog,
    backend: SandboxBackend,
    now: datetime,
    ref: str | None = None,
) -> Fit:
    """Look for the disk of this recipe, which is that ref's own when one is given. Changes nothing."""
    found = await catalog.find(recipe.key)
    record = within_ttl(found, environment.cache_ttl_seconds) if found else None
    flaw = await backend.flaw_of_snapshot(recipe.key) if record is not None else None
    if record is not None and record.expires_at > now and flaw is None:
        return Fit(nearest=record, reason=None)
    nearest = record or await catalog.find_newest(environment.name, repository.address, ref=ref)
    return Fit(nearest=nearest, reason=reason_of_miss(recipe, nearest, flaw=flaw, now=now))
