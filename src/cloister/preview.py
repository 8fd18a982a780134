"""What a task would meet before anybody submits one: its scripts, and whether a kept disk fits."""

from dataclasses import dataclass
from datetime import datetime

from cloister.detection import SetupScripts
from cloister.model.environment import Environment
from cloister.model.event import SnapshotMissed
from cloister.model.snapshot import SnapshotRecipe, SnapshotRecord, reason_of_miss, within_ttl
from cloister.model.task import Revision, TaskId
from cloister.protocols import SandboxBackend, SnapshotCatalog, TaskStore

_TASKS_SEARCHED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How a repository would be made ready."""

    environment: Environment
    revision: Revision
    scripts: SetupScripts


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A task that found no disk."""

    task: TaskId
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAnswer:
    """Whether a kept disk fits, and why not."""

    recipe: SnapshotRecipe
    nearest: SnapshotRecord | None
    """The one that fits, else the newest of this environment and repository."""
    reason: str | None
    """Of the miss that a task would have now; None when it would hit."""
    last_miss: Miss | None

    @property
    def differing(self) -> frozenset[str]:
        """Names of the key's parts that are not as in the nearest disk."""
        kept = self.nearest.parts if self.nearest else {}
        return frozenset(name for name, value in self.recipe.parts.items() if kept.get(name) != value)


async def answer_why(
    environment: Environment,
    repository: str,
    recipe: SnapshotRecipe,
    *,
    catalog: SnapshotCatalog,
    backend: SandboxBackend,
    store: TaskStore,
    now: datetime,
) -> CacheAnswer:
    """Look for the disk of this recipe as a task would, changing nothing."""
    found = await catalog.find(recipe.key)
    record = within_ttl(found, environment.cache_ttl_seconds) if found else None
    fits = record is not None and record.expires_at > now and await backend.has_snapshot(recipe.key)
    nearest = record or await catalog.find_newest(environment.name, repository)
    return CacheAnswer(
        recipe=recipe,
        nearest=nearest,
        reason=None if fits else reason_of_miss(recipe, nearest, now=now),
        last_miss=await _last_miss(environment.name, repository, store),
    )


async def _last_miss(environment: str, repository: str, store: TaskStore) -> Miss | None:
    for status in await store.list(limit=_TASKS_SEARCHED):
        task = status.task
        if (task.environment.name, task.repository.address) == (environment, repository):
            async for recorded in store.events(task.id):
                if isinstance(recorded.event, SnapshotMissed):
                    return Miss(task=task.id, at=recorded.at, reason=recorded.event.reason)
    return None
