"""Whom an attempt asked, what was refused and why, and one button that lets it pass from the next task on."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor
from cloister.egress_log import egress_entries
from cloister.errors import NotFoundError, UsageError
from cloister.intake import Intake
from cloister.model.environment_source import SourceKind
from cloister.model.request import EnvironmentText
from cloister.web.chosen import AttemptNumber, Chosen, ChosenAttempt, TurnNumber, quiet_events
from cloister.web.page import PageRoute
from cloister.web.proposed import network_proposal, proposal_of, with_network
from cloister.web.task_view import task_page

router = APIRouter(
    prefix="/tasks", tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)


@router.get("/{task}/network")
async def network(request: Request, intake: FrontDoor, _: Viewer, chosen: ChosenAttempt) -> Response:
    """Show whom an attempt asked, what was refused and why, and what would let that pass."""
    events = await quiet_events(intake, chosen)
    proposal = network_proposal(chosen, events)
    source = chosen.status.task.environment_source
    return task_page(
        request,
        "network.html",
        chosen,
        events,
        tab="network",
        egress=egress_entries(chosen.own(events)),
        proposal=proposal,
        widens=proposal.startswith("[network]"),
        kind=SourceKind.DEFAULTS if source is None else source.kind,
        file=source.file if source else None,
        version=source.version if source else None,
        newest=await _newest_version(intake, chosen) if proposal else None,
    )


@router.post("/{task}/allow")
async def allow(
    task: str,
    intake: FrontDoor,
    _: Admin,
    base: Annotated[int, Form()],
    turn: TurnNumber = None,
    attempt: AttemptNumber = None,
) -> Response:
    """Store the proposal as the next version of the task's environment. ConflictError when another came meanwhile."""
    status = await intake.task(task)
    name = status.task.environment.name
    table = await proposal_of(intake, task, name, turn=turn, attempt=attempt)
    if not table.startswith("[network]"):
        raise UsageError("nothing that this task was refused can be allowed by its environment")
    text = with_network((await intake.environments.get(name)).text, table)
    await intake.environments.edit(
        name, EnvironmentText(source="the text", raw=text.encode(errors="replace")), base=base
    )
    query = "&".join(f"{key}={value}" for key, value in (("turn", turn), ("attempt", attempt)) if value is not None)
    return RedirectResponse(f"/tasks/{status.task.id}/network{'?' if query else ''}{query}#allowed", 303)


async def _newest_version(intake: Intake, chosen: Chosen) -> int | None:
    """Return the version that the task's stored environment is in by now; None for another, and for a deleted one."""
    source = chosen.status.task.environment_source
    if source is None or source.kind is not SourceKind.STORED:
        return None
    try:
        return (await intake.environments.get(chosen.status.task.environment.name)).version
    except NotFoundError:
        return None
