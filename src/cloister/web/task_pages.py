"""The pages of a task: what came of it, its change, what happened, whom it asked, and how it was run."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Caller, Member, Viewer
from cloister.api.front import FrontDoor
from cloister.intake import Intake
from cloister.model.event import RecordedEvent
from cloister.model.task import AttemptStatus
from cloister.model.token import Role
from cloister.web.activity import Activity, Entry, joined
from cloister.web.chosen import AttemptNumber, Chosen, ChosenAttempt, TurnNumber, quiet_events
from cloister.web.live_output import shells_of
from cloister.web.page import PageRoute, duration
from cloister.web.pictures import is_picture
from cloister.web.publishing import publishing_of
from cloister.web.saved import saved_as
from cloister.web.task_view import refusals_of, task_page
from cloister.web.waterfall import waterfall

EVENTS_AT_ONCE = 600
"""Of a task's log, on one page."""
CHARACTERS_AT_ONCE = 1_000_000
"""Of them too: fewer events, where programs print a lot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of what happened."""

    entries: Sequence[Entry] = ()
    earlier: int | None = None
    """There is more before this `seq`."""
    last: int = 0
    """`seq` up to which it was read."""
    first: int = 0
    """`seq` after which it begins."""


router = APIRouter(
    prefix="/tasks",
    tags=["tasks"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


elsewhere = APIRouter(
    tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)


@router.get("/{task}")
async def overview(
    task: str,
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
) -> Response:
    """Say where a task is, and what came of it."""
    if task != chosen.status.task.id:
        return RedirectResponse(f"/tasks/{chosen.status.task.id}{chosen.query}", 303)
    events = await quiet_events(intake, chosen)
    tail = await _tail(intake, chosen, events) if chosen.is_live else Tail()
    refusals = {each.number: refusals_of(each.attempt, events) for each in chosen.turn.attempts}
    outcome = chosen.attempt.outcome
    caller: Caller = request.state.caller
    return task_page(
        request,
        "task.html",
        chosen,
        events,
        tab="overview",
        tail=tail,
        refusals=refusals,
        check_names=list(dict.fromkeys(name for each in chosen.turn.attempts for name in check_names_of(each))),
        pictures=[artifact for artifact in outcome.artifacts if is_picture(artifact)] if outcome else [],
        publishing=await publishing_of(intake, chosen),
        may_publish=chosen.is_last_turn and outcome is not None and caller.role.includes(Role.MEMBER),
    )


def check_names_of(attempt: AttemptStatus) -> list[str]:
    """Return which checks were run on what an attempt left."""
    return [check.name for check in attempt.outcome.checks] if attempt.outcome else []


@elsewhere.get("/codex/tasks/{task}")
async def from_codex(task: str, intake: FrontDoor, _: Viewer) -> Response:
    """Lead from the address that `codex cloud` prints to the task's page."""
    return RedirectResponse(f"/tasks/{(await intake.task(task)).task.id}", 303)


@router.get("/{task}/activity")
async def activity(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
    before: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """Show what an agent did and what programs printed, the end of it first asked for."""
    events = await quiet_events(intake, chosen)
    tail = await _tail(intake, chosen, events, before)
    return task_page(
        request, "activity.html", chosen, events, tab="activity", tail=tail, shells=shells_of(chosen, events)
    )


@router.get("/{task}/details")
async def details(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
) -> Response:
    """Show what the attempt was run with."""
    seconds = chosen.attempt.outcome.seconds if chosen.attempt.outcome else {}
    picture = waterfall(seconds, {phase: duration(it) for phase, it in seconds.items()})
    return task_page(
        request, "details.html", chosen, await quiet_events(intake, chosen), tab="details", waterfall=picture
    )


@router.get("/{task}/record", response_class=Response)
async def record(
    task: str, intake: FrontDoor, _: Viewer, turn: TurnNumber = None, attempt: AttemptNumber = None
) -> Response:
    """Return the signed record to be saved."""
    envelope = await intake.results.record(task, attempt=attempt, turn=turn)
    return Response(envelope, media_type="application/json", headers=saved_as(f"{task}.json"))


@router.get("/{task}/artifact", response_class=Response)
async def artifact(
    task: str,
    name: str,
    intake: FrontDoor,
    _: Viewer,
    turn: TurnNumber = None,
    attempt: AttemptNumber = None,
) -> Response:
    """Return a file that an agent left, to be saved and never shown as a page."""
    data = await intake.results.artifact(task, name, attempt=attempt, turn=turn)
    return Response(data, media_type="application/octet-stream", headers=saved_as(name.rsplit("/", 1)[-1]))


@router.post("/{task}/cancel")
async def cancel(task: str, intake: FrontDoor, _: Member) -> Response:
    """Ask for the end of a task."""
    return RedirectResponse(f"/tasks/{await intake.cancel(task)}", 303)


@router.post("/{task}/archive")
async def archive(task: str, intake: FrontDoor, _: Member, archived: Annotated[bool, Form()] = True) -> Response:
    """Put a task that is over out of sight, or back."""
    status = await intake.archive(task, archived=archived)
    return RedirectResponse("/" if archived else f"/tasks/{status.task.id}", 303)


@router.post("/{task}/follow-up")
async def follow_up(
    task: str,
    intake: FrontDoor,
    caller: Member,
    prompt: Annotated[str, Form()],
    attempt: Annotated[int | None, Form()] = None,
    attempts: Annotated[int, Form()] = 1,
) -> Response:
    """Accept one more turn."""
    found, _turn = await intake.follow_up(
        task, prompt.replace("\r\n", "\n"), attempt=attempt, attempts=attempts, asked_by=caller.name
    )
    return RedirectResponse(f"/tasks/{found}", 303)


async def _tail(intake: Intake, chosen: Chosen, quiet: list[RecordedEvent], before: int | None = None) -> Tail:
    """Read the last events of the attempt, or the last before that `seq`; `quiet` are those without output."""
    own = chosen.own(quiet)
    ended = own[-1].seq if own else chosen.turn.seq
    newest = await intake.last_seq(chosen.status.task.id) if chosen.is_live else ended
    end = before if before is not None else None if chosen.is_live else newest + 1
    start = max(chosen.turn.seq, (before or newest) - EVENTS_AT_ONCE)
    read = deque[RecordedEvent](maxlen=EVENTS_AT_ONCE)
    async for recorded in intake.events(chosen.status.task.id, after=start - 1):
        if end is not None and recorded.seq >= end:
            break
        read.append(recorded)
    while len(read) > 1 and sum(len(getattr(it.event, "text", "")) for it in read) > CHARACTERS_AT_ONCE:
        for _ in range(max(1, len(read) // 4)):
            read.popleft()
    first = read[0].seq if read else start
    teller = Activity()
    for recorded in own:
        if recorded.seq < first:
            teller.feed(recorded)  # it remembers the command lines
    entries = joined(entry for recorded in chosen.own(read) for entry in teller.feed(recorded))
    return Tail(
        entries=entries,
        earlier=first if first > chosen.turn.seq else None,
        last=read[-1].seq if read else start - 1,
        first=first - 1,
    )
