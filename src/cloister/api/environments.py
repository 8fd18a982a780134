"""Stored environments."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from cloister.api.body import LARGEST_NUMBER, Body
from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor, check_repository
from cloister.api.wire import Deleted
from cloister.environments import EnvironmentReport
from cloister.model.request import EnvironmentText, RepositoryFile
from cloister.model.stored_environment import StoredEnvironment

router = APIRouter(prefix="/environments", tags=["environments"])


class ContentBody(Body):
    """The text of an environment file, or the file of a repository's commit."""

    text: str = ""
    source: str = "the request"
    """What messages call the text."""
    repository: str | None = None
    """Where the file is read from, in place of a text."""
    ref: str | None = None

    def content(self) -> EnvironmentText | RepositoryFile:
        """Return where the text is."""
        if self.repository is not None:
            return RepositoryFile(repository=self.repository, ref=self.ref)
        return EnvironmentText(source=self.source, raw=self.text.encode())


class NamedContentBody(ContentBody):
    """The same, under a name that is not in use."""

    name: str


class EditBody(ContentBody):
    """The same, as the next version."""

    base: int | None = None
    """Version that was edited; null is the newest."""


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: NamedContentBody, intake: FrontDoor, caller: Admin) -> EnvironmentReport:
    """Store an environment under a name that is not in use."""
    check_repository(body.repository or "", caller)
    return await intake.environments.create(body.name, body.content(), paths=caller.on_this_machine)


@router.get("")
async def find(intake: FrontDoor, _: Viewer) -> list[StoredEnvironment]:
    """Return the stored environments in their newest versions, by name."""
    return list(await intake.environments.list())


@router.get("/{name}")
async def get(
    name: str, intake: FrontDoor, _: Viewer, version: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER)] = None
) -> EnvironmentReport:
    """Return a stored environment, by default in its newest version."""
    return await intake.environments.describe(name, version)


@router.put("/{name}")
async def edit(name: str, body: EditBody, intake: FrontDoor, caller: Admin) -> EnvironmentReport:
    """Store the next version of an environment. 409 when somebody else has stored one since `base`."""
    check_repository(body.repository or "", caller)
    return await intake.environments.edit(name, body.content(), base=body.base, paths=caller.on_this_machine)


@router.delete("/{name}")
async def delete(name: str, intake: FrontDoor, _: Admin, with_secrets: Annotated[bool, Query()] = False) -> Deleted:
    """Take an environment out of use, and forget its snapshots."""
    secrets, snapshots = await intake.delete_environment(name, with_secrets=with_secrets)
    return Deleted(secrets=list(secrets), snapshots=snapshots)


@router.get("/{name}/versions")
async def versions(name: str, intake: FrontDoor, _: Viewer) -> list[StoredEnvironment]:
    """Return all versions of an environment, newest first, also of a deleted one."""
    return list(await intake.environments.versions(name))
