"""Environments: what there is, what each says, and how it is changed."""

import re
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor
from cloister.api.problem import error_to_problem
from cloister.environment_file import read_environment
from cloister.environments import EnvironmentReport
from cloister.errors import CloisterError, UsageError
from cloister.intake import Intake
from cloister.model.environment_source import SourceKind
from cloister.model.request import EnvironmentText
from cloister.model.task_filter import TaskFilter
from cloister.web.chosen import choose_attempt, quiet_events
from cloister.web.page import PageRoute, render
from cloister.web.phase_line import phase_line
from cloister.web.proposed import network_proposal

_TASKS_SHOWN = 5
_SOURCE = "the text"
_NETWORK = re.compile(r"^\[network\][^\n]*\n(?:(?!\[).*\n?)*", re.MULTILINE)
_NEW = """\
# All keys: docs/reference/environment-file.md. What is left out has its default.
agent = "codex"

[setup]
automatic = true

[network]
setup = "full"
agent = "off"

[checks]
"""

router = APIRouter(
    prefix="/environments",
    tags=["environments"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)

Text = Annotated[str, Form(max_length=300_000)]


@router.get("")
async def find(request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Show all stored environments."""
    reports = [await intake.environments.describe(stored.name) for stored in await intake.environments.list()]
    return render(request, "environments.html", reports=reports)


@router.get("/new")
async def new(request: Request, _: Admin) -> Response:
    """Show an empty editor."""
    return _editor(request, name="", text=_NEW)


@router.get("/check")
async def check(
    request: Request, _: Viewer, text: Annotated[str, Query()] = "", name: Annotated[str, Query()] = ""
) -> Response:
    """Say what is wrong with a text, or what a task would get of it."""
    try:
        environment = read_environment(_unix(text).encode(), source=_SOURCE, default_name=name or "new")
    except CloisterError as error:
        return render(request, "part_environment.html", problem=error_to_problem(error), phases=())
    return render(request, "part_environment.html", problem=None, phases=phase_line(environment, ()))


@router.post("")
async def create(request: Request, intake: FrontDoor, _: Admin, name: Annotated[str, Form()], text: Text) -> Response:
    """Store a text under a new name, or show the editor again, with what is wrong."""
    try:
        report = await intake.environments.create(name.strip(), _content(text))
    except CloisterError as error:
        return _editor(request, name=name, text=text, error=error)
    return _shown(report)


@router.get("/{name}")
async def show(
    name: str, request: Request, intake: FrontDoor, _: Viewer, version: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """Show what a version of an environment says, by default the newest, and what is kept for it."""
    report = await intake.environments.describe(name, version)
    return await _page(request, intake, report)


@router.get("/{name}/edit")
async def editor(
    name: str, request: Request, intake: FrontDoor, _: Admin, proposal: Annotated[str | None, Query()] = None
) -> Response:
    """Show the newest text to be edited; with the id of a task, with what would let its refused requests pass."""
    stored = await intake.environments.get(name)
    text = stored.text
    if proposal is not None:
        text = _with_network(text, await _proposal(intake, proposal, name))
    return _editor(request, name=name, text=text, base=stored.version, proposal=proposal is not None)


@router.post("/{name}")
async def edit(
    name: str, request: Request, intake: FrontDoor, _: Admin, text: Text, base: Annotated[int, Form()]
) -> Response:
    """Store the next version. Who edited what is no longer the newest is told so, and keeps the text."""
    try:
        report = await intake.environments.edit(name, _content(text), base=base)
    except CloisterError as error:
        return _editor(request, name=name, text=text, base=base, error=error)
    return _shown(report)


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


def _editor(
    request: Request,
    *,
    name: str,
    text: str,
    base: int | None = None,
    proposal: bool = False,
    error: CloisterError | None = None,
) -> Response:
    problem = error_to_problem(error) if error else None
    return render(
        request,
        "edit_environment.html",
        code=problem.status if problem else 200,
        problem=problem,
        name=name,
        text=text,
        base=base,
        proposal=proposal,
    )


async def _proposal(intake: Intake, task: str, name: str) -> str:
    """Return the `[network]` table that would let the refused requests of a task of that environment pass."""
    chosen = await choose_attempt(intake, task, None, None)
    source = chosen.status.task.environment_source
    if chosen.status.task.environment.name != name or source is None or source.kind is not SourceKind.STORED:
        raise UsageError(f"task {task} was not run by the stored environment {name!r}")
    return network_proposal(chosen, await quiet_events(intake, chosen))


def _with_network(text: str, table: str) -> str:
    """Put a `[network]` table in the place of the one that is there, or at the end."""
    if not table.startswith("[network]"):
        return text
    if _NETWORK.search(text):
        return _NETWORK.sub(lambda _: f"{table}\n", text, count=1)
    return f"{text.rstrip()}\n\n{table}"


def _content(text: str) -> EnvironmentText:
    return EnvironmentText(source=_SOURCE, raw=_unix(text).encode())


def _unix(text: str) -> str:
    """Undo what forms do to the ends of lines."""
    return text.replace("\r\n", "\n")


def _shown(report: EnvironmentReport) -> Response:
    return RedirectResponse(f"/environments/{report.stored.name}", 303)
