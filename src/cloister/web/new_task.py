"""The page that gives a task: a form, what will apply to it, and the command line that asks for the same."""

import shlex
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query
from fastapi import Request as WebRequest
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from cloister.api.caller import Caller, Member
from cloister.api.front import FrontDoor, check_repository
from cloister.api.problem import error_to_problem
from cloister.environment_file import environment_from_options
from cloister.errors import CloisterError
from cloister.intake import COMMAND_AGENT, Intake
from cloister.model.environment_source import SourceKind, source_to_text
from cloister.model.network import NetworkMode
from cloister.model.request import EnvironmentName, Request
from cloister.model.task import CHECK, Task
from cloister.repository_address import is_path
from cloister.web.page import PageRoute, render
from cloister.web.phase_line import phase_line

_TASKS_LOOKED_AT = 50
_LONGEST_ADDRESS = 8000
"""That browsers and proxies take for certain."""
PROMPT = "PROMPT"
"""Stands for the prompt in a command line, until a script puts what is in the form in its place."""

router = APIRouter(
    prefix="/tasks",
    tags=["tasks"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


class TaskForm(BaseModel):
    """What the form holds. Empty is as if it was not said."""

    repository: str = ""
    ref: str = ""
    prompt: str = ""
    environment: str = ""
    """Name of a stored one."""
    agent: str = ""
    command: str = ""
    attempts: int = 1
    ask: bool = False
    internet: Literal["", "off", "limited", "full"] = ""
    allow: str = ""
    """Domains, with blanks or commas between them."""
    use_cache: bool = True

    @property
    def domains(self) -> tuple[str, ...]:
        """What the agent may reach too."""
        return tuple(self.allow.replace(",", " ").split())

    def to_request(self) -> Request:
        """Return what it asks for."""
        return Request(
            repository=self.repository.strip(),
            ref=self.ref.strip() or None,
            prompt=self.prompt.replace("\r\n", "\n"),
            environment=EnvironmentName(name=self.environment) if self.environment else None,
            agent=self.agent or None,
            command=(self.command.strip() or None) if self.agent == COMMAND_AGENT else None,
            attempts=self.attempts,
            ask=self.ask,
            internet=NetworkMode(self.internet) if self.internet else None,
            allow=self.domains,
            use_cache=self.use_cache,
        )

    def to_command_line(self) -> str:
        """Return the `cloister run` that asks for the same."""
        asked = self.to_request()
        words = ["cloister", "run", "--repo", asked.repository or "URL"]
        words += ["--ref", asked.ref] if asked.ref else []
        words += ["--env", self.environment] if self.environment else []
        if asked.command:
            words += ["--command", asked.command]
        elif asked.agent:
            words += ["--agent", asked.agent]
        words += ["--attempts", str(self.attempts)] if self.attempts > 1 else []
        words += ["--ask"] if self.ask else []
        words += ["--internet", self.internet] if self.internet else []
        words += [word for domain in self.domains for word in ("--allow", domain)]
        words += [] if self.use_cache else ["--no-cache"]
        return shlex.join([*words, "--detach", asked.prompt.strip() or PROMPT])


def again_address(task: Task) -> str:
    """Return the address of the form, filled with what a task was asked with; empty when that is too much for one."""
    source = task.environment_source
    is_stored = source is not None and source.kind is SourceKind.STORED
    asked = {
        "repository": task.repository.address,
        "ref": "" if task.revision.ref == task.revision.default_branch else task.revision.ref,
        "prompt": task.prompt,
        "environment": task.environment.name if is_stored else "",
        "agent": task.agent,
        "command": task.command or "",
        "attempts": str(task.attempts) if task.attempts > 1 else "",
        "ask": "true" if task.ask else "",
    }
    address = f"/tasks/new?{urlencode({name: value for name, value in asked.items() if value}, errors='replace')}"
    return address if len(address) <= _LONGEST_ADDRESS else ""


Filled = Annotated[TaskForm, Form()]


@router.get("/new")
async def show(request: WebRequest, intake: FrontDoor, caller: Member, asked: Annotated[TaskForm, Query()]) -> Response:
    """Show the form, filled with what the address says."""
    return await _form(request, intake, caller, asked)


@router.get("/new/preview")
async def preview(
    request: WebRequest, intake: FrontDoor, caller: Member, asked: Annotated[TaskForm, Query()]
) -> Response:
    """Show what would apply to such a task: its phases, its scripts, its checks."""
    if not asked.repository.strip():
        return render(request, "part_preview.html", asked=asked, preview=None, problem=None)
    try:
        check_repository(asked.repository.strip(), caller)
        wanted = asked.to_request()
        found = await intake.preview(wanted.repository, wanted.ref, wanted.environment)
        environment = environment_from_options(
            found.environment, variables={}, internet=wanted.internet, allow=wanted.allow
        )
    except CloisterError as error:
        return render(request, "part_preview.html", asked=asked, preview=None, problem=error_to_problem(error))
    return render(
        request,
        "part_preview.html",
        asked=asked,
        problem=None,
        preview=found,
        environment=environment,
        source=source_to_text(found.source),
        phases=phase_line(environment, ()),
    )


@router.post("")
async def create(request: WebRequest, intake: FrontDoor, caller: Member, asked: Filled) -> Response:
    """Accept the task, or show the form again, with what is wrong."""
    try:
        check_repository(asked.repository.strip(), caller)
        task = await intake.submit(asked.to_request(), asked_by=caller.name)
    except CloisterError as error:
        return await _form(request, intake, caller, asked, error)
    return RedirectResponse(f"/tasks/{task.id}", 303)


async def _form(
    request: WebRequest, intake: Intake, caller: Caller, asked: TaskForm, error: CloisterError | None = None
) -> Response:
    problem = error_to_problem(error) if error else None
    return render(
        request,
        "new_task.html",
        code=problem.status if problem else 200,
        asked=asked,
        problem=problem,
        repositories=await _repositories(intake, caller),
        environments=[stored.name for stored in await intake.environments.list()],
        agents=sorted(intake.agents.keys() - {CHECK}),
        modes=tuple(NetworkMode),
    )


async def _repositories(intake: Intake, caller: Caller) -> Sequence[str]:
    """Return the addresses that tasks were given for lately, as far as the caller may name them."""
    addresses = dict.fromkeys(status.task.repository.address for status in await intake.tasks(limit=_TASKS_LOOKED_AT))
    return [address for address in addresses if caller.on_this_machine or not is_path(address)]
