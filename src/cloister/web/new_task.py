"""The page that gives a task: a form, what will apply to it, and the command line that asks for the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query
from fastapi import Request as WebRequest
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Caller, Member
from cloister.api.front import FrontDoor, check_priority, check_repository
from cloister.api.problem import Problem, error_to_problem
from cloister.environment_file import environment_from_options
from cloister.errors import CloisterError
from cloister.intake import Intake
from cloister.model.ceiling import excess_of
from cloister.model.environment import Environment
from cloister.model.environment_source import source_to_text
from cloister.model.fairness import Priority
from cloister.model.network import NetworkMode
from cloister.model.pack import not_installed
from cloister.model.task import CHECK
from cloister.model.token import Role
from cloister.preview import Preview
from cloister.repository_address import is_path
from cloister.web.page import PageRoute, render
from cloister.web.phase_line import PhaseView, phase_line
from cloister.web.posted import changes_nothing, posted_as, read_form
from cloister.web.task_form import TaskForm, sent_files, sent_patch

_TASKS_LOOKED_AT = 50
_MODES = (NetworkMode.OFF, NetworkMode.LIMITED, NetworkMode.FULL)

router = APIRouter(
    prefix="/tasks",
    tags=["tasks"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)

Filled = Annotated[TaskForm, Depends(posted_as(TaskForm))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """What would apply to a task that is asked for so."""

    preview: Preview
    environment: Environment
    source: str
    phases: Sequence[PhaseView]
    agent: str
    bounds: Sequence[str]
    """What the operator does not give of what is asked for, and what is not there yet."""


@router.get("/new")
async def show(request: WebRequest, intake: FrontDoor, caller: Member, asked: Annotated[TaskForm, Query()]) -> Response:
    """Show the form, filled with what the address says."""
    return await _form(request, intake, caller, asked)


@router.get("/new/preview")
async def preview(
    request: WebRequest, intake: FrontDoor, caller: Member, asked: Annotated[TaskForm, Query()]
) -> Response:
    """Show what would apply to such a task: its phases, its scripts, its checks."""
    meant, problem = await _look(intake, caller, asked)
    return render(request, "part_preview.html", asked=asked, meant=meant, problem=problem)


@router.post("/new/look")
async def look(request: WebRequest, intake: FrontDoor, caller: Member, asked: Filled) -> Response:
    """Show the form again with all that a script would have put there: names to choose from, and what would apply."""
    changes_nothing(request)
    meant, problem = await _look(intake, caller, asked)
    repositories = [*await _repositories(intake, caller), *await _at_forge(intake)]
    branches = await _branches(intake, caller, asked.repository)
    return await _form(request, intake, caller, asked, meant=meant, problem=problem, names=(repositories, branches))


@router.post("/new/markdown")
async def markdown(request: WebRequest, _: Member, prompt: Annotated[str, Form()] = "") -> Response:
    """Show how a prompt reads."""
    changes_nothing(request)
    return render(request, "part_markdown.html", text=prompt)


@router.get("/new/repositories")
async def repositories(request: WebRequest, intake: FrontDoor, caller: Member) -> Response:
    """Return the addresses to choose from: of tasks, of environments, and at the forge."""
    known = [*await _repositories(intake, caller), *await _at_forge(intake)]
    return render(request, "part_options.html", options=dict.fromkeys(known))


@router.get("/new/branches")
async def branches(request: WebRequest, intake: FrontDoor, caller: Member, repository: str = "") -> Response:
    """Return the branches of a repository to choose from; none where they cannot be read, which the preview tells."""
    return render(request, "part_options.html", options=await _branches(intake, caller, repository))


@router.post("")
async def create(request: WebRequest, intake: FrontDoor, caller: Member, asked: Filled) -> Response:
    """Accept the task, or show the form again, with what is wrong."""
    form = await read_form(request)
    try:
        check_repository(asked.repository.strip(), caller)
        check_priority(asked.priority, caller)
        wanted = asked.to_request(await sent_patch(form), await sent_files(form))
        task = await intake.submit(wanted, asked_by=caller.name)
    except CloisterError as error:
        problem = error_to_problem(error)
        return await _form(request, intake, caller, asked, problem=problem, code=problem.status)
    return RedirectResponse(f"/tasks/{task.id}", 303)


async def _look(intake: Intake, caller: Caller, asked: TaskForm) -> tuple[Meant | None, Problem | None]:
    """Return what would apply, or what is wrong; neither without a repository."""
    if not asked.repository.strip():
        return None, None
    try:
        check_repository(asked.repository.strip(), caller)
        return await _meant(intake, asked), None
    except CloisterError as error:
        return None, error_to_problem(error)


async def _meant(intake: Intake, asked: TaskForm) -> Meant:
    wanted = asked.to_request()
    found = await intake.repositories.preview(wanted.repository, wanted.ref, wanted.environment)
    environment = environment_from_options(
        found.environment, variables={}, internet=wanted.internet, allow=wanted.allow
    )
    agent = asked.agent or environment.agent
    return Meant(
        preview=found,
        environment=environment,
        source=source_to_text(found.source),
        phases=phase_line(environment, (), intake.ceiling),
        agent=agent,
        bounds=(*excess_of(environment.network, intake.ceiling), *await _missing(intake, agent, environment)),
    )


async def _missing(intake: Intake, agent: str, environment: Environment) -> Sequence[str]:
    """Return why a task would be refused as things are: an agent that is not here, secrets without a value."""
    known = intake.agents.get(agent)
    is_here = known is None or known.pack is None or await intake.packs.find(known.pack.name) is not None
    kept = {secret.name for secret in await intake.secrets(environment.name)} if environment.secrets else set()
    names = [use.name for use in environment.secrets if use.name not in kept]
    return (
        *(() if is_here else (not_installed(agent).message,)),
        *([f"no value is kept for {', '.join(names)}: the task is refused until there is one"] if names else []),
    )


async def _form(
    request: WebRequest,
    intake: Intake,
    caller: Caller,
    asked: TaskForm,
    *,
    meant: Meant | None = None,
    problem: Problem | None = None,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
    code: int = 200,
) -> Response:
    repositories, branches = names or (await _repositories(intake, caller), ())
    highest = _MODES.index(intake.ceiling.agent)
    return render(
        request,
        "new_task.html",
        code=code,
        asked=asked,
        meant=meant,
        problem=problem,
        looked=names is not None,
        repositories=dict.fromkeys(repositories),
        branches=branches,
        environments=[stored.name for stored in await intake.environments.list()],
        agents=sorted(intake.agents.keys() - {CHECK}),
        models=[provider.name for provider in await intake.models.list()],
        priorities=[each for each in Priority if each is not Priority.HIGH or caller.role.includes(Role.ADMIN)],
        modes={mode: _MODES.index(mode) <= highest for mode in _MODES},
        highest=intake.ceiling.agent,
    )


async def _repositories(intake: Intake, caller: Caller) -> Sequence[str]:
    """Return the addresses of the newest tasks and of stored environments, as far as the caller may name them."""
    addresses = [status.task.repository.address for status in await intake.tasks(limit=_TASKS_LOOKED_AT)]
    for stored in await intake.environments.list():
        if "repository" not in stored.text:  # to read each of many would be slow
            continue
        described = (await intake.environments.describe(stored.name)).environment
        addresses += [described.repository] if described and described.repository else []
    return [address for address in dict.fromkeys(addresses) if caller.on_this_machine or not is_path(address)]


async def _at_forge(intake: Intake) -> Sequence[str]:
    """Return what Cloister's login may use there; nothing where there is none, or where it does not answer."""
    if intake.host is None:
        return ()
    try:
        return [repository.address for repository in await intake.host.repositories()]
    except CloisterError:
        return ()


async def _branches(intake: Intake, caller: Caller, repository: str) -> Sequence[str]:
    """Return the names of branches; none where they cannot be read, which the preview tells."""
    if not repository.strip():
        return ()
    try:
        check_repository(repository.strip(), caller)
        return [branch.name for branch in await intake.repositories.branches(repository.strip())]
    except CloisterError:
        return ()
