"""Reviews of pull requests: asked for, found, and posted on demand."""

from typing import Annotated

from fastapi import APIRouter, status
from pydantic import Field

from cloister.api.body import LARGEST_NUMBER, Body
from cloister.api.caller import Member, Viewer
from cloister.api.front import FrontDoor, check_repository
from cloister.api.once import AtMostOnce
from cloister.api.task_request import EnvironmentBody
from cloister.api.task_shape import TaskShape, status_to_shape
from cloister.errors import UsageError
from cloister.intake import Intake
from cloister.model.finding import FindingPriority
from cloister.model.request import ReviewRequest
from cloister.model.review import KnownReview, Posting
from cloister.model.task import as_accepted
from cloister.reviews import Reviews

router = APIRouter(tags=["reviews"])


class ReviewBody(Body):
    """What shall be reviewed."""

    repository: str = Field(examples=["https://github.com/team/shop"])
    number: Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]
    """Of the pull request."""
    focus: str = ""
    """What to look for above all."""
    lowest: FindingPriority | None = None
    """Findings that matter less are left out; null is as the environment says."""
    incremental: bool = False
    """Only what came since the last review that was posted."""
    post: bool = False
    """Post it as soon as it is done; a server does."""
    environment: EnvironmentBody | None = None
    """Null takes the repository's own file, or else the defaults."""
    agent: str | None = None
    model: str | None = None
    command: str | None = None
    """A command line that reviews, in place of an agent."""


class PostingBody(Body):
    """Whose findings are posted."""

    attempt: int | None = None
    """Of the last turn; null is the best."""


@router.post("/reviews", status_code=status.HTTP_201_CREATED)
async def create(body: ReviewBody, intake: FrontDoor, caller: Member, once: AtMostOnce) -> TaskShape:
    """Accept a task that reviews a pull request; it is on disk when this answers. Nothing is changed or approved."""
    check_repository(body.repository, caller)
    if once.kept is not None:
        return status_to_shape(as_accepted((await intake.task(once.kept.task)).task))
    reviews = reviews_of(intake)
    request = await reviews.prepare(body_to_review(body, guarded=not caller.on_this_machine))
    task = await intake.submit(request, once.key, asked_by=caller.name)
    await reviews.note(task)
    return status_to_shape(as_accepted(task))


@router.put("/tasks/{task}/review")
async def post(task: str, body: PostingBody, intake: FrontDoor, _: Member) -> Posting:
    """Post what a review found at its pull request, once. It comments, and neither approves nor refuses."""
    return await reviews_of(intake).post(task, attempt=body.attempt)


@router.get("/tasks/{task}/review")
async def get(task: str, intake: FrontDoor, _: Viewer) -> KnownReview:
    """Return what is known of a task's review at the forge. Its findings are in the task's outcome."""
    return await reviews_of(intake).find(task)


def reviews_of(intake: Intake) -> Reviews:
    """Return the part that reviews. UsageError where there is no forge."""
    if intake.reviews is None:
        raise UsageError("this installation has no forge")
    return intake.reviews


def body_to_review(body: ReviewBody, *, guarded: bool) -> ReviewRequest:
    """Return the request that nobody has checked yet."""
    return ReviewRequest(
        repository=body.repository,
        number=body.number,
        focus=body.focus,
        lowest=body.lowest,
        incremental=body.incremental,
        post=body.post,
        environment=body.environment.choice() if body.environment else None,
        agent=body.agent,
        model=body.model,
        command=body.command,
        guarded=guarded,
    )
