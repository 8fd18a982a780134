"""What a repository needs to be ready: the scripts for it, and the kept disk that fits."""

from dataclasses import dataclass
from datetime import datetime

from cloister.detection import SetupScripts, choose_scripts
from cloister.model.environment import Environment
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord, reason_of_miss, within_ttl
from cloister.model.task import Repository, Revision
from cloister.protocols import Forge, SandboxBackend, SnapshotCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Whether a kept disk fits."""

    nearest: SnapshotRecord | None
    """The one of the very key, else the newest of this environment and repository."""
    reason: str | None
    """Why none fits; None when the nearest does."""


async def find_scripts(
    forge: Forge, repository: Repository, revision: Revision, environment: Environment
) -> SetupScripts:
    """Look at what the project itself says, at the default branch's tip and at the task's commit."""
    base = await forge.project_files(repository, revision.default_commit)
    is_base = revision.commit == revision.default_commit
    asked = base if is_base else await forge.project_files(repository, revision.commit)
    return choose_scripts(environment, base=base, asked=asked)


async def find_fit(
    recipe: SnapshotRecipe,
    environment: Environment,
    repository: Repository,
    *,
    catalog: SnapshotCatalog,
    backend: SandboxBackend,
    now: datetime,
) -> Fit:
    """Look for the disk of this recipe. Changes nothing."""
    found = await catalog.find(recipe.key)
    record = within_ttl(found, environment.cache_ttl_seconds) if found else None
    if record is not None and record.expires_at > now and await backend.has_snapshot(recipe.key):
        return Fit(nearest=record, reason=None)
    nearest = record or await catalog.find_newest(environment.name, repository.address)
    return Fit(nearest=nearest, reason=reason_of_miss(recipe, nearest, now=now))
