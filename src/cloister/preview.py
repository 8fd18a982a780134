"""What a task would meet, told before anybody submits one."""

from dataclasses import dataclass
from datetime import datetime

from cloister.model.environment import Environment
from cloister.model.environment_source import EnvironmentSource
from cloister.model.event import SnapshotMissed
from cloister.model.snapshot import SnapshotKey, SnapshotRecipe
from cloister.model.task import Repository, Revision, TaskId
from cloister.protocols import TaskStore
from cloister.readiness import Fit, Needs

_TASKS_SEARCHED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """How a repository would be made ready."""

    environment: Environment
    source: EnvironmentSource
    repository: Repository
    revision: Revision
    needs: Needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A task that found no disk."""

    task: TaskId
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDisk:
    """The disk that is for one ref alone."""

    ref: str
    key: SnapshotKey
    reason: str | None
    """Why it is not there; None when it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAnswer:
    """Whether a task would find a kept disk, and why not."""

    recipe: SnapshotRecipe
    fit: Fit
    own: OwnDisk | None
    """Above that; None when the ref declares the default branch's dependencies, or an agent wrote it."""
    last_miss: Miss | None

    @property
    def differing(self) -> frozenset[str]:
        """Names of the key's parts that are not as in the nearest disk."""
        kept = self.fit.nearest.parts if self.fit.nearest else {}
        return frozenset(name for name, value in self.recipe.parts.items() if kept.get(name) != value)


async def find_last_miss(environment: Environment, repository: Repository, *, store: TaskStore) -> Miss | None:
    """Return the newest miss among the last tasks of this environment and repository."""
    for status in await store.list(limit=_TASKS_SEARCHED):
        task = status.task
        if (task.environment.name, task.repository) == (environment.name, repository):
            async for recorded in store.events(task.id):
                if isinstance(recorded.event, SnapshotMissed):
                    return Miss(task=task.id, at=recorded.at, reason=recorded.event.reason)
    return None
