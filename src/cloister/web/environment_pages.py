"""Environments: what there is, what each says, and how it is changed."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor
from cloister.environments import EnvironmentReport
from cloister.intake import Intake
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
    name: str, request: Request, intake: FrontDoor, _: Viewer, version: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """Show what a version of an environment says, by default the newest, and what is kept for it."""
    report = await intake.environments.describe(name, version)
    return await _page(request, intake, report)


@router.post("/{name}/delete")
async def delete(name: str, intake: FrontDoor, _: Admin, with_secrets: Annotated[bool, Form()] = False) -> Response:
    """Take an environment out of use."""
    await intake.delete_environment(name, with_secrets=with_secrets)
    return RedirectResponse("/environments", 303)


@router.post("/{name}/reset-cache")
async def reset_cache(name: str, intake: FrontDoor, _: Admin) -> Response:
    """Forget its snapshots: the next task runs setup."""
    await intake.environments.get(name)
    await intake.reset_cache(name)
    return RedirectResponse(f"/environments/{name}", 303)


async def _page(request: Request, intake: Intake, report: EnvironmentReport) -> Response:
    name = report.stored.name
    versions = await intake.environments.versions(name)
    return render(
        request,
        "environment.html",
        report=report,
        stored=report.stored,
        phases=phase_line(report.environment, ()) if report.environment else (),
        versions=versions,
        is_newest=report.stored.version == versions[0].version,
        secrets=await intake.secrets(name),
        snapshots=[record for record in await intake.snapshots() if record.environment == name],
        tasks=await intake.tasks(limit=_TASKS_SHOWN, only=TaskFilter(environment=name, archived=False)),
    )
