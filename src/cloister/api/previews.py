"""What a task on a repository would meet, without giving one."""

from fastapi import APIRouter

from cloister.api.body import Body
from cloister.api.caller import Member
from cloister.api.front import FrontDoor, check_repository
from cloister.api.task_request import EnvironmentBody
from cloister.importing import ImportedEnvironment
from cloister.model.request import EnvironmentChoice
from cloister.preview import CacheAnswer, Preview

router = APIRouter(tags=["previews"])


class PreviewBody(Body):
    """A repository at a ref, and an environment for it."""

    repository: str
    ref: str | None = None
    """Branch, tag, full or short commit; null is the default branch."""
    environment: EnvironmentBody | None = None
    """Null takes the repository's own file, or else the defaults."""

    @property
    def choice(self) -> EnvironmentChoice | None:
        """The environment that is chosen."""
        return self.environment.choice() if self.environment else None


class ImportBody(Body):
    """A repository at a ref, with a file of another service."""

    repository: str
    ref: str | None = None
    path: str | None = None
    """Which of its files is read; null is the first choice of those that are there."""


@router.post("/previews")
async def preview(body: PreviewBody, intake: FrontDoor, caller: Member) -> Preview:
    """Say what a task on that repository would do to be ready."""
    check_repository(body.repository, caller)
    return await intake.repositories.preview(body.repository, body.ref, body.choice, guarded=not caller.on_this_machine)


@router.post("/previews/cache")
async def why(body: PreviewBody, intake: FrontDoor, caller: Member) -> CacheAnswer:
    """Say whether a task on that repository would find a kept disk, and why not."""
    check_repository(body.repository, caller)
    return await intake.repositories.why(body.repository, body.ref, body.choice, guarded=not caller.on_this_machine)


@router.post("/imports")
async def import_environment(body: ImportBody, intake: FrontDoor, caller: Member) -> ImportedEnvironment:
    """Make an environment file of what the repository says to other services."""
    check_repository(body.repository, caller)
    return await intake.repositories.import_environment(
        body.repository, body.ref, body.path, guarded=not caller.on_this_machine
    )
