"""The editor of environments: the text and a form beside it, each of which follows the other, and what is wrong."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field, Json

from cloister.api.caller import Admin
from cloister.api.front import FrontDoor
from cloister.api.problem import Problem, error_to_problem
from cloister.environment_file import read_environment
from cloister.errors import CloisterError, ConflictError, EnvironmentFileError, UsageError
from cloister.intake import Intake
from cloister.model.request import EnvironmentText
from cloister.model.task import CHECK
from cloister.web.environment_fields import Entries, groups, tables
from cloister.web.environment_sheet import Sheet, change_text, left_to_the_text, names_in, read_sheet, rows_of
from cloister.web.page import PageRoute, render, render_form
from cloister.web.phase_line import PhaseView, phase_line
from cloister.web.posted import changes_nothing, posted_as, read_form, unix
from cloister.web.proposed import proposal_of, with_network

SOURCE = "the text"
_FIELD = "f:"
"""How fields of the form begin, so that none is taken for another part of what is sent."""
_MOST_LINES_OF_DIFFERENCE = 400
_PROPOSED = "The table [network] is the proposal. Read it, and save."
NEW = """\
# What is left out has its default.
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


class EditorForm(BaseModel):
    """What the editor sends, but for the fields of the form beside the text."""

    text: Annotated[str, Field(max_length=300_000)] = ""
    was: Json[dict[str, str]] = {}
    """What the fields were when they were shown."""
    name: str = ""
    base: int | None = None
    side: str = "form"
    """Which of the two was changed: `form`, or `text`."""
    more: str = ""
    """A table that gets one more entry."""
    over: int | None = None
    """The version of somebody else that is seen, and is to be followed by this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A text that is edited, with all that is shown of it."""

    text: str
    sheet: Sheet | None
    """None when the text is not TOML."""
    problem: Problem | None
    phases: tuple[PhaseView, ...]
    hidden: frozenset[str] = frozenset()
    """Tables that are left to the text."""
    more: Mapping[str, int] = field(default_factory=dict)
    """How many empty entries a table has beside one."""

    def rows(self, table: Entries) -> range:
        """Return the numbers of a table's entries, with the empty ones behind them."""
        return range(rows_of(self.sheet or {}, table) + 1 + self.more.get(table.name, 0))


Edited = Annotated[EditorForm, Depends(posted_as(EditorForm))]


@router.get("/-/new")
async def new(
    request: Request, intake: FrontDoor, _: Admin, proposal: Annotated[str | None, Query()] = None
) -> Response:
    """Show an editor with the defaults; with the id of a task that ran by them, and what it was refused."""
    if proposal is None:
        return await show_editor(request, intake, name="", text=NEW)
    text = with_network(NEW, await proposal_of(intake, proposal, None))
    return await show_editor(request, intake, name="", text=text, note=_PROPOSED)


@router.post("/-/form")
async def follow(request: Request, intake: FrontDoor, _: Admin, asked: Edited) -> Response:
    """Let the text follow the form, or the form the text; nothing is stored.

    A script gets the parts that change; without one, the whole page is shown again.
    """
    changes_nothing(request)
    text, error = await edited_text(request, asked)
    if "hx-request" not in request.headers:
        return await show_editor(
            request, intake, name=asked.name, text=text, base=asked.base, error=error, more=asked.more
        )
    draft = await run_sync(partial(make_draft, text, asked.name, more=asked.more))
    if error is not None:
        draft = replace(draft, problem=error_to_problem(error))
    has_other_rows = draft.sheet is not None and names_in(draft.sheet) != names_in(asked.was)
    is_form_shown = draft.sheet is not None and (asked.side == "text" or bool(asked.more) or has_other_rows)
    return render(
        request,
        "part_editor.html",
        draft=draft,
        groups=groups(),
        text_follows=text != unix(asked.text),
        form_follows=is_form_shown,
        is_merged=error is None and draft.sheet is not None,
        **await _known(intake),
    )


@router.post("")
async def create(request: Request, intake: FrontDoor, _: Admin, asked: Edited) -> Response:
    """Store a text under a new name, or show the editor again, with what is wrong."""
    text, error = await edited_text(request, asked)
    try:
        if error is not None:
            raise error
        await intake.environments.create(asked.name.strip(), _content(text))
    except CloisterError as error:
        return await show_editor(request, intake, name=asked.name, text=text, error=error)
    return RedirectResponse(f"/environments/{asked.name.strip()}", 303)


@router.get("/{name}/edit")
async def editor(
    name: str, request: Request, intake: FrontDoor, _: Admin, proposal: Annotated[str | None, Query()] = None
) -> Response:
    """Show the newest text to be edited; with the id of a task, with what would let its refused requests pass."""
    stored = await intake.environments.get(name)
    text = stored.text
    if proposal is not None:
        text = with_network(text, await proposal_of(intake, proposal, name))
    note = _PROPOSED if proposal is not None else ""
    return await show_editor(request, intake, name=name, text=text, base=stored.version, note=note)


@router.post("/{name}")
async def edit(name: str, request: Request, intake: FrontDoor, _: Admin, asked: Edited) -> Response:
    """Store the next version. Who edited what is no longer the newest is told so, and keeps the text."""
    text, error = await edited_text(request, asked)
    base = asked.over or asked.base
    if base is None:
        raise UsageError("the version that was edited is not said", hint="load the page again")
    try:
        if error is not None:
            raise error
        await intake.environments.edit(name, _content(text), base=base)
    except ConflictError as error:
        return await _conflict(request, intake, name, text, base, error)
    except CloisterError as error:
        return await show_editor(request, intake, name=name, text=text, base=base, error=error)
    return RedirectResponse(f"/environments/{name}", 303)


async def show_editor(
    request: Request,
    intake: Intake,
    *,
    name: str,
    text: str,
    base: int | None = None,
    note: str = "",
    error: CloisterError | None = None,
    more: str = "",
    theirs: tuple[int, str] | None = None,
) -> Response:
    """Show the editor with a text; `theirs` is the version that somebody else stored, and what it changed."""
    return render_form(
        request,
        "edit_environment.html",
        error,
        name=name,
        draft=await run_sync(partial(make_draft, text, name, more=more)),
        groups=groups(),
        base=base,
        note=note,
        theirs=theirs,
        **await _known(intake),
    )


def make_draft(text: str, name: str, *, more: str = "") -> Draft:
    """Read a text, for the form and as a task would."""
    try:
        environment = read_environment(text.encode(errors="replace"), source=SOURCE, default_name=name or "new")
        problem, phases = None, phase_line(environment, ())
    except CloisterError as error:
        problem, phases = error_to_problem(error), ()
    try:
        sheet, hidden = read_sheet(text, SOURCE), left_to_the_text(text, SOURCE)
    except EnvironmentFileError:
        return Draft(text=text, sheet=None, problem=problem, phases=phases)
    known = {table.name for table in tables()}
    return Draft(
        text=text, sheet=sheet, problem=problem, phases=phases, hidden=hidden, more={more: 1} if more in known else {}
    )


async def edited_text(request: Request, asked: EditorForm) -> tuple[str, CloisterError | None]:
    """Return the text with what was changed in the form, or as it was sent, with why that cannot be."""
    text = unix(asked.text)
    if asked.side == "text" and "hx-request" not in request.headers:
        return text, None
    form = await read_form(request)
    now = {
        name.removeprefix(_FIELD): unix(value)
        for name, value in form.items()
        if name.startswith(_FIELD) and isinstance(value, str)
    }
    was = {name: unix(value) for name, value in asked.was.items()}
    if all(value == was.get(name, "") for name, value in now.items()):
        return text, None
    try:
        return await run_sync(change_text, text, was, now, SOURCE), None
    except CloisterError as error:
        return text, error


async def _conflict(
    request: Request, intake: Intake, name: str, text: str, base: int, error: ConflictError
) -> Response:
    """Tell the second of two what the first has changed meanwhile. What the second wrote is kept in the editor."""
    newest = (await intake.environments.versions(name))[0]
    if newest.deleted_at is not None:
        return await show_editor(request, intake, name=name, text=text, base=base, error=error)
    mine = (await intake.environments.get(name, base)).text
    lines = difflib.unified_diff(
        mine.splitlines(), newest.text.splitlines(), f"version {base}", f"version {newest.version}", lineterm=""
    )
    changed = "\n".join([*lines][:_MOST_LINES_OF_DIFFERENCE])
    theirs = (newest.version, changed)
    return await show_editor(request, intake, name=name, text=text, base=base, error=error, theirs=theirs)


async def _known(intake: Intake) -> dict[str, Any]:
    """Return the names that fields of the form offer."""
    return {
        "images": await intake.images.names(),
        "agents": sorted(intake.agents.keys() - {CHECK}),
    }


def _content(text: str) -> EnvironmentText:
    return EnvironmentText(source=SOURCE, raw=text.encode(errors="replace"))
