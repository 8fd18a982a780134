"""A task's pull request, from its page."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import anyio
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Member, Viewer
from cloister.api.front import FrontDoor
from cloister.errors import CloisterError, NotFoundError, UsageError
from cloister.intake import Intake
from cloister.model.forge import PullRequest
from cloister.model.publication import Publication, PublishOptions
from cloister.model.task import TaskId
from cloister.pull_requests import PullRequests, automation_of
from cloister.web.chosen import Chosen
from cloister.web.page import PageRoute, render

PATIENCE_SECONDS = 8
"""For the forge's answer, while somebody looks at a page that is there already."""
FRESH = timedelta(seconds=20)
"""How long an answer is shown again, however many look."""
MOST_KEPT = 200

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


@dataclass(frozen=True, slots=True)
class SeenPulls:
    """What the forge said of pull requests a moment ago."""

    _seen: dict[TaskId, tuple[datetime, PullRequest | None]] = field(default_factory=dict)

    async def look(self, pull_requests: PullRequests, known: Publication) -> PullRequest | None:
        """Return a task's pull request as the forge has it now. CloisterError; TimeoutError."""
        now = datetime.now(UTC)
        at, found = self._seen.get(known.task, (now - FRESH, None))
        if now - at < FRESH:
            return found
        task = (await pull_requests.tasks.get(known.task)).task
        with anyio.fail_after(PATIENCE_SECONDS):
            found = await pull_requests.host.find_pull_request(task.repository, known.branch)
        while len(self._seen) >= MOST_KEPT:
            del self._seen[next(iter(self._seen))]
        self._seen[known.task] = now, found
        return found

    def forget(self, task: TaskId) -> None:
        """Ask anew next time."""
        self._seen.pop(task, None)


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


@router.get("/{task}/pull-request")
async def state(task: str, request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Say where a task's pull request is now, for its page: the forge is asked when somebody looks."""
    if intake.pull_requests is None:
        raise NotFoundError(f"task {task} has no pull request")
    known = await intake.pull_requests.find(task)
    seen: SeenPulls = request.app.state.seen_pulls
    try:
        found, why_not = await seen.look(intake.pull_requests, known), ""
    except TimeoutError:
        found, why_not = None, f"the forge did not answer within {PATIENCE_SECONDS} s"
    except CloisterError as error:
        found, why_not = None, str(error)
    return render(request, "part_pull_state.html", pull=found, why_not=why_not)


@router.post("/{task}/pull-request")
async def pull_request(
    task: str,
    request: Request,
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
    found = (await intake.task(task)).task.id
    request.app.state.seen_pulls.forget(found)
    return RedirectResponse(f"/tasks/{found}#pull-request", 303)
