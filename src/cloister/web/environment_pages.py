"""Environments: what there is, what each says, and how it is changed."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor, KnownAutomation
from cloister.environments import EnvironmentReport
from cloister.intake import Intake
from cloister.model.request import EnvironmentName
from cloister.model.task_filter import TaskFilter
from cloister.web.page import PageRoute, render
from cloister.web.phase_line import phase_line

_TASKS_SHOWN = 5

router = APIRouter(
    prefix="/environments",
    tags=["environments"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


@router.get("")
async def find(request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Show all stored environments."""
    reports = [await intake.environments.describe(stored.name) for stored in await intake.environments.list()]
    return render(request, "environments.html", reports=reports)


@router.get("/{name}")
async def show(
    name: str,
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    version: Annotated[int | None, Query(ge=1)] = None,
    secret: str = "",
) -> Response:
    """Show what a version of an environment says, by default the newest, and what is kept for it."""
    report = await intake.environments.describe(name, version)
    return await _page(request, intake, report, secret)


@router.get("/{name}/delete")
async def confirm(name: str, request: Request, intake: FrontDoor, automation: KnownAutomation, _: Admin) -> Response:
    """Show what is lost with an environment, before it is."""
    stored = await intake.environments.get(name)
    schedules = [
        schedule.name
        for schedule in await automation.schedules.list()
        if isinstance(choice := schedule.request.environment, EnvironmentName) and choice.name == name
    ]
    return render(
        request,
        "delete_environment.html",
        stored=stored,
        secrets=await intake.secrets(name),
        snapshots=[record for record in await intake.snapshots.list() if record.environment == name],
        schedules=schedules,
    )


@router.post("/{name}/delete")
async def delete(name: str, intake: FrontDoor, _: Admin, with_secrets: Annotated[bool, Form()] = False) -> Response:
    """Take an environment out of use."""
    await intake.delete_environment(name, with_secrets=with_secrets)
    return RedirectResponse("/environments", 303)


async def _page(request: Request, intake: Intake, report: EnvironmentReport, secret: str) -> Response:
    name = report.stored.name
    versions, secrets = await intake.environments.versions(name), await intake.secrets(name)
    return render(
        request,
        "environment.html",
        report=report,
        stored=report.stored,
        phases=phase_line(report.environment, ()) if report.environment else (),
        versions=versions,
        is_newest=report.stored.version == versions[0].version,
        secrets=secrets,
        snapshots=[record for record in await intake.snapshots.list() if record.environment == name],
        now=intake.now(),
        rotated=secret,
        rule=next((kept.rule for kept in secrets if kept.name == secret), None),
        tasks=await intake.tasks(limit=_TASKS_SHOWN, only=TaskFilter(environment=name, archived=False)),
    )
