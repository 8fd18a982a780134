"""Pull requests of tasks: opened and brought up to date on demand, and no other way."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from cloister.api.body import Body
from cloister.api.caller import Member, Viewer
from cloister.api.front import FrontDoor
from cloister.errors import UsageError
from cloister.intake import Intake
from cloister.model.publication import Publication, Published, PublishOptions
from cloister.pull_requests import PullRequests

router = APIRouter(prefix="/tasks", tags=["pull_requests"])

Login = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,99}$")]
Label = Annotated[str, Field(min_length=1, max_length=50)]


class PullRequestBody(Body):
    """How the change of a task is published."""

    attempt: int | None = None
    """Of the last turn; null is the best."""
    draft: bool = False
    """Of a pull request that is opened now."""
    labels: Annotated[tuple[Label, ...], Field(max_length=20)] = ()
    ready: bool = False
    """A draft becomes one to be reviewed."""
    assignees: Annotated[tuple[Login, ...], Field(max_length=10)] = ()
    """People whose it shall be, by their logins."""
    workflows: bool = False
    """Also when it changes what the forge runs by itself."""
    again: bool = False
    """Also when a person closed the task's pull request."""


@router.put("/{task}/pull-request")
async def publish(task: str, body: PullRequestBody, intake: FrontDoor, _: Member) -> Published:
    """Push the change of a task to its branch, and open its pull request, or bring it up to date."""
    options = PublishOptions(
        draft=body.draft and not body.ready,
        labels=body.labels,
        workflows=body.workflows,
        again=body.again,
        ready=body.ready,
        assignees=body.assignees,
    )
    return await _part(intake).publish(task, attempt=body.attempt, options=options)


@router.get("/{task}/pull-request")
async def get(task: str, intake: FrontDoor, _: Viewer) -> Publication:
    """Return what Cloister made of a task at the forge last."""
    return await _part(intake).find(task)


def _part(intake: Intake) -> PullRequests:
    if intake.pull_requests is None:
        raise UsageError("this installation has no forge")
    return intake.pull_requests
