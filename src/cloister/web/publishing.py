"""A task's pull request, from its page."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Member
from cloister.api.front import FrontDoor
from cloister.errors import NotFoundError, UsageError
from cloister.intake import Intake
from cloister.model.publication import Publication, PublishOptions
from cloister.pull_requests import automation_of
from cloister.web.chosen import Chosen
from cloister.web.page import PageRoute

router = APIRouter(
    prefix="/tasks", tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """What a page says of a task's pull request."""

    known: Publication | None
    """What is known of it; the forge is not asked."""
    automation: tuple[str, ...]
    """Paths of the change that the forge runs by itself."""


async def publishing_of(intake: Intake, chosen: Chosen) -> Publishing | None:
    """Return it; None where the task's repository is at no forge, or there is nothing to propose."""
    pull_requests, task = intake.pull_requests, chosen.status.task
    change = chosen.attempt.outcome.change if chosen.attempt.outcome else None
    if pull_requests is None or not pull_requests.host.covers(task.repository):
        return None
    try:
        known = await pull_requests.find(task.id)
    except NotFoundError:
        known = None
    if change is None or not change.diff:
        return Publishing(known=known, automation=()) if known else None
    return Publishing(known=known, automation=tuple(sorted(automation_of(change))))


@router.post("/{task}/pull-request")
async def pull_request(
    task: str,
    intake: FrontDoor,
    _: Member,
    attempt: Annotated[int | None, Form()] = None,
    draft: Annotated[bool, Form()] = False,
    workflows: Annotated[bool, Form()] = False,
    again: Annotated[bool, Form()] = False,
) -> Response:
    """Push a task's change to its branch, and open its pull request, or bring it up to date."""
    if intake.pull_requests is None:
        raise UsageError("this installation has no forge")
    options = PublishOptions(draft=draft, workflows=workflows, again=again)
    await intake.pull_requests.publish(task, attempt=attempt, options=options)
    return RedirectResponse(f"/tasks/{(await intake.task(task)).task.id}#pull-request", 303)
