"""What the client calls an environment: a recipe and a repository."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from cloister.errors import NotFoundError
from cloister.intake import Intake
from cloister.model.bundle import is_bundle
from cloister.model.request import EnvironmentName
from cloister.model.task_filter import EVERY_TASK
from cloister.repository_address import is_path

_TASKS_SEARCHED = 1000


class CodexEnvironment(BaseModel):
    """An environment in the client's list."""

    id: str
    label: str
    is_pinned: bool = False
    task_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a task of such an environment runs."""

    id: str
    repository: str
    environment: EnvironmentName | None
    """None is whatever the repository says itself."""


async def list_places(intake: Intake) -> Sequence[Place]:
    """Return the stored environments that name a repository, then the repositories that tasks were given for.

    A repository on this machine is only there through a stored environment, whose author chose to name it.
    """
    places = {}
    for stored in await intake.environments.list():
        environment = (await intake.environments.describe(stored.name)).environment
        if environment is not None and environment.repository is not None:
            name = EnvironmentName(name=stored.name)
            places[stored.name] = Place(id=stored.name, repository=environment.repository, environment=name)
    for status in await intake.tasks(limit=_TASKS_SEARCHED, only=EVERY_TASK):
        address = status.task.repository.address
        if not is_path(address) and not is_bundle(address):
            places.setdefault(address, Place(id=address, repository=address, environment=None))
    return list(places.values())


async def get_place(intake: Intake, id: str) -> Place:
    """Return the place of that id. NotFoundError."""
    for place in await list_places(intake):
        if place.id == id:
            return place
    raise NotFoundError(
        f"there is no environment {id!r} that names a repository",
        hint="store one with the key `repository`: cloister env create NAME --file FILE",
    )


async def shown_places(intake: Intake, places: Sequence[Place]) -> list[CodexEnvironment]:
    """Return them as the client lists them."""
    counts = Counter(
        status.task.environment.name for status in await intake.tasks(limit=_TASKS_SEARCHED, only=EVERY_TASK)
    )
    return [CodexEnvironment(id=place.id, label=place.id, task_count=counts[place.id]) for place in places]
