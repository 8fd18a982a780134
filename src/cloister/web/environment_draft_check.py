"""A check of what stands in the editor of environments, which is not stored by it."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import Field

from cloister.api.caller import Admin, Caller, Viewer
from cloister.api.front import FrontDoor, check_repository
from cloister.api.problem import error_to_problem
from cloister.environment_file import read_environment
from cloister.errors import CloisterError
from cloister.importing.toml_writer import string
from cloister.intake import Intake
from cloister.model.request import EnvironmentText
from cloister.model.request import Request as TaskRequest
from cloister.model.task import CHECK
from cloister.web.environment_checks import PROMPT, CheckForm, repositories_for, show_check
from cloister.web.environment_editor import Edited, edited_text
from cloister.web.page import PageRoute, render
from cloister.web.posted import changes_nothing, posted_as, unix

SOURCE = "the editor"
ANY = "-"
"""In the place of a stored environment's name, which it can never be."""

router = APIRouter(
    prefix=f"/environments/{ANY}/check",
    tags=["environments"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


class DraftForm(CheckForm):
    """A text that is checked, and on what."""

    text: Annotated[str, Field(max_length=300_000)] = ""
    name: str = ""
    """Of the stored environment that is edited, whose secrets the check gets; empty for one that is new."""


@router.post("")
async def show(request: Request, intake: FrontDoor, caller: Admin, edited: Edited) -> Response:
    """Show the form for a check of what is in the editor."""
    changes_nothing(request)
    text, error = await edited_text(request, edited)
    asked = DraftForm(text=text, name=edited.name if edited.base is not None else "")
    return await _form(request, intake, caller, asked, error)


@router.post("/begin")
async def begin(
    request: Request, intake: FrontDoor, caller: Admin, asked: Annotated[DraftForm, Depends(posted_as(DraftForm))]
) -> Response:
    """Begin the check, and lead to where its steps are shown, or show the form again, with what is wrong."""
    address, text = asked.repository.strip(), unix(asked.text)
    try:
        check_repository(address, caller)
        raw = await run_sync(partial(_named, text, asked.name))
        wanted = TaskRequest(
            repository=address,
            prompt=PROMPT,
            ref=asked.ref.strip() or None,
            environment=EnvironmentText(source=SOURCE, raw=raw),
            agent=CHECK,
            use_cache=asked.use_cache,
        )
        task = await intake.submit(wanted, asked_by=caller.name)
    except CloisterError as error:
        return await _form(request, intake, caller, asked, error)
    return RedirectResponse(f"/environments/{ANY}/check/{task.id}", 303)


@router.get("/{task}")
async def steps(task: str, request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Show the steps of a check, which come as they are done."""
    return await show_check("environment_check.html", None, task, request, intake)


@router.get("/{task}/report")
async def report(task: str, request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Return what a check has found out by now, as a part of its page."""
    return await show_check("part_check.html", None, task, request, intake)


def _named(text: str, name: str) -> bytes:
    """Return the text as one that names the stored environment which it is of. EnvironmentFileError."""
    raw = text.encode(errors="replace")
    own = read_environment(raw, source=SOURCE, default_name="").name
    return raw if own or not name else f"name = {string(name)}\n".encode() + raw


async def _form(
    request: Request, intake: Intake, caller: Caller, asked: DraftForm, error: CloisterError | None
) -> Response:
    problem = error_to_problem(error) if error else None
    repositories: Sequence[str] = await repositories_for(intake, caller, asked.name) if asked.name else ()
    return render(
        request,
        "check_draft.html",
        code=problem.status if problem else 200,
        problem=problem,
        asked=asked,
        ref=asked.ref,
        repository=asked.repository or next(iter(repositories), ""),
        repositories=repositories,
    )
