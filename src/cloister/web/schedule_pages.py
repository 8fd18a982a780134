"""Schedules: tasks at set times."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from cloister.api.caller import Member, Viewer
from cloister.api.front import FrontDoor, KnownAutomation, check_repository
from cloister.automation import Automation
from cloister.errors import CloisterError
from cloister.intake import Intake
from cloister.model.missed import Missed
from cloister.model.request import EnvironmentName
from cloister.model.request import Request as Asked
from cloister.model.task import CHECK
from cloister.web.page import PageRoute, render, render_form

_RUNS_SHOWN = 10

router = APIRouter(
    prefix="/schedules",
    tags=["schedules"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


class ScheduleForm(BaseModel):
    """A schedule that is wanted. Empty is as if it was not said."""

    name: str = ""
    cron: str = ""
    timezone: str = "UTC"
    repository: str = ""
    ref: str = ""
    prompt: str = ""
    environment: str = ""
    agent: str = ""
    command: str = ""
    skip_missed: bool = False

    def to_request(self, *, guarded: bool) -> Asked:
        """Return what is asked each time."""
        return Asked(
            repository=self.repository.strip(),
            ref=self.ref.strip() or None,
            prompt=self.prompt.replace("\r\n", "\n"),
            environment=EnvironmentName(name=self.environment) if self.environment else None,
            agent=self.agent or None,
            command=self.command.strip() or None,
            guarded=guarded,
        )


@router.get("")
async def show(request: Request, intake: FrontDoor, automation: KnownAutomation, _: Viewer) -> Response:
    """Show all schedules, and the form for another."""
    return await _page(request, intake, automation, ScheduleForm())


@router.post("", name="create")
async def create(
    request: Request,
    intake: FrontDoor,
    automation: KnownAutomation,
    caller: Member,
    asked: Annotated[ScheduleForm, Form()],
) -> Response:
    """Keep a schedule, or show the form again, with what is wrong. Its tasks are the caller's."""
    try:
        check_repository(asked.repository.strip(), caller)
        await automation.schedules.create(
            asked.name.strip(),
            asked.cron,
            asked.to_request(guarded=not caller.on_this_machine),
            timezone=asked.timezone.strip(),
            missed=Missed.SKIP if asked.skip_missed else Missed.ONCE,
            created_by=caller.name,
        )
    except CloisterError as error:
        return await _page(request, intake, automation, asked, error)
    return RedirectResponse("/schedules", 303)


@router.get("/{name}")
async def show_one(name: str, request: Request, automation: KnownAutomation, _: Viewer) -> Response:
    """Show a schedule, and when it was due."""
    schedule = await automation.schedules.get(name)
    runs = await automation.schedules.runs(name)
    return render(request, "schedule.html", schedule=schedule, runs=runs[:_RUNS_SHOWN])


@router.post("/{name}/pause", name="pause")
async def pause(name: str, automation: KnownAutomation, _: Member, paused: Annotated[bool, Form()]) -> Response:
    """Let no task of it come, or let them come again."""
    await automation.schedules.pause(name, paused=paused)
    return RedirectResponse("/schedules", 303)


@router.post("/{name}/remove", name="remove")
async def remove(name: str, automation: KnownAutomation, _: Member) -> Response:
    """Forget it. Its tasks stay."""
    await automation.schedules.remove(name)
    return RedirectResponse("/schedules", 303)


async def _page(
    request: Request,
    intake: Intake,
    automation: Automation,
    asked: ScheduleForm,
    error: CloisterError | None = None,
) -> Response:
    return render_form(
        request,
        "schedules.html",
        error,
        asked=asked,
        schedules=await automation.schedules.list(),
        environments=[stored.name for stored in await intake.environments.list()],
        agents=sorted(intake.agents.keys() - {CHECK}),
    )
