"""Environments tried out, as `cloister env check` does: setup in a sandbox, without an agent, step by step."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from cloister.api.caller import Caller, Member, Viewer
from cloister.api.front import FrontDoor, check_repository
from cloister.check_report import CheckReport
from cloister.errors import CloisterError, NotFoundError
from cloister.intake import Intake
from cloister.model.event import RecordedEvent
from cloister.model.request import EnvironmentName
from cloister.model.request import Request as TaskRequest
from cloister.model.task import CHECK, TaskState
from cloister.model.task_filter import TaskFilter
from cloister.repository_address import is_path
from cloister.web.chosen import Chosen, choose_attempt, quiet_events
from cloister.web.page import PageRoute, render, render_form
from cloister.web.posted import posted_as

PROMPT = "check that the repository can be made ready"
_TASKS_LOOKED_AT = 20

router = APIRouter(
    prefix="/environments/{name}",
    tags=["environments"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


class CheckForm(BaseModel):
    """A repository at a ref, for which an environment is tried out. Empty is as if it was not said."""

    repository: str = ""
    ref: str = ""
    use_cache: bool = True


@router.get("/check")
async def show(
    name: str, request: Request, intake: FrontDoor, caller: Member, asked: Annotated[CheckForm, Query()]
) -> Response:
    """Show the form."""
    return await _form(name, request, intake, caller, asked)


@router.post("/check")
async def begin(
    name: str,
    request: Request,
    intake: FrontDoor,
    caller: Member,
    asked: Annotated[CheckForm, Depends(posted_as(CheckForm))],
) -> Response:
    """Begin a check, and lead to where its steps are shown, or show the form again, with what is wrong."""
    address = asked.repository.strip()
    wanted = TaskRequest(
        repository=address,
        prompt=PROMPT,
        ref=asked.ref.strip() or None,
        environment=EnvironmentName(name=name),
        agent=CHECK,
        use_cache=asked.use_cache,
    )
    try:
        check_repository(address, caller)
        task = await intake.submit(wanted, asked_by=caller.name)
    except CloisterError as error:
        return await _form(name, request, intake, caller, asked, error)
    return RedirectResponse(f"/environments/{name}/check/{task.id}", 303)


@router.get("/check/{task}")
async def steps(name: str, task: str, request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Show the steps of a check, which come as they are done."""
    return await show_check("environment_check.html", name, task, request, intake)


@router.get("/check/{task}/report")
async def report(name: str, task: str, request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Return what a check has found out by now, as a part of its page."""
    return await show_check("part_check.html", name, task, request, intake)


async def repositories_for(intake: Intake, caller: Caller, name: str) -> Sequence[str]:
    """Return repositories that an environment is used for, as far as the caller may name them."""
    described = (await intake.environments.describe(name)).environment
    tasks = await intake.tasks(limit=_TASKS_LOOKED_AT, only=TaskFilter(environment=name, archived=False))
    addresses = [
        *([described.repository] if described and described.repository else []),
        *(status.task.repository.address for status in tasks),
        *(record.repository for record in await intake.snapshots.list() if record.environment == name),
    ]
    return [address for address in dict.fromkeys(addresses) if caller.on_this_machine or not is_path(address)]


async def _form(
    name: str, request: Request, intake: Intake, caller: Caller, asked: CheckForm, error: CloisterError | None = None
) -> Response:
    repositories = await repositories_for(intake, caller, name)
    return render_form(
        request,
        "check_environment.html",
        error,
        name=name,
        asked=asked,
        repository=asked.repository or next(iter(repositories), ""),
        repositories=repositories,
    )


async def show_check(template: str, name: str | None, task: str, request: Request, intake: Intake) -> Response:
    """Show the steps of a check of that stored environment; without a name, of a text that was given for it."""
    chosen = await choose_attempt(intake, task, None, None)
    if chosen.status.task.agent != CHECK or name not in (None, chosen.status.task.environment.name):
        raise NotFoundError(f"task {task} is no check of {'an environment' if name is None else repr(name)}")
    events = chosen.own(await quiet_events(intake, chosen))
    return render(
        request,
        template,
        name=name,
        task=chosen.status.task,
        status=chosen.status,
        chosen=chosen,
        outcome=chosen.attempt.outcome,
        phases=chosen.line(events),
        report=_report(chosen, events),
        is_live=chosen.is_live,
    )


def _report(chosen: Chosen, events: Sequence[RecordedEvent]) -> CheckReport:
    made = CheckReport()
    for recorded in events:
        made.add(recorded)
    if chosen.status.state is TaskState.FINISHED:
        made.finish(chosen.status)
    return made
