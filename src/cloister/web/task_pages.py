"""The pages of a task: what came of it, its change, what happened, whom it asked, and how it was run."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Caller, Member, Viewer
from cloister.api.front import FrontDoor
from cloister.egress_log import egress_entries
from cloister.errors import NotFoundError
from cloister.intake import Intake
from cloister.model.environment_source import SourceKind, source_to_text
from cloister.model.event import EgressRefused, RecordedEvent
from cloister.model.task import TaskState
from cloister.model.token import Role
from cloister.web.activity import Activity, Entry, joined
from cloister.web.chosen import AttemptNumber, Chosen, ChosenAttempt, TurnNumber, quiet_events
from cloister.web.diff_view import ROWS_AT_ONCE, files_of, rows_of, side_by_side, unfolded
from cloister.web.page import PageRoute, duration, render
from cloister.web.proposed import network_proposal
from cloister.web.task_form import again_address
from cloister.web.waterfall import waterfall

EVENTS_AT_ONCE = 600
"""Of a task's log, on one page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of what happened."""

    entries: Sequence[Entry] = ()
    earlier: int | None = None
    """There is more before this `seq`."""
    last: int = 0
    """`seq` up to which it was read."""


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
    return _page(request, "task.html", chosen, events, tab="overview", tail=tail, refusals=refusals)


@elsewhere.get("/codex/tasks/{task}")
async def from_codex(task: str, intake: FrontDoor, _: Viewer) -> Response:
    """Lead from the address that `codex cloud` prints to the task's page."""
    return RedirectResponse(f"/tasks/{(await intake.task(task)).task.id}", 303)


@router.get("/{task}/changes")
async def changes(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
    view: Annotated[str, Query(pattern="^(unified|split)$")] = "unified",
    file: Annotated[int | None, Query(ge=1)] = None,
    row: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Show what an attempt changed: all files, or one of them in parts."""
    change = chosen.attempt.outcome.change if chosen.attempt.outcome else None
    files = files_of(change.diff, change.flags) if change else []
    if file is not None and file > len(files):
        raise NotFoundError(f"this change has {len(files)} files; there is no number {file}")
    shown = [files[file - 1]] if file else unfolded(files)
    rows = {it.number: rows_of(it) for it in shown}
    end = row + ROWS_AT_ONCE
    return _page(
        request, "changes.html", chosen, await quiet_events(intake, chosen), tab="changes", change=change,
        files=[files[file - 1]] if file else files, all_files=files, view=view, file=file, row=row,
        more={number: len(it) - end for number, it in rows.items() if len(it) > end}, next_row=end,
        rows={number: it[row:end] for number, it in rows.items()},
        pairs={number: side_by_side(it[row:end]) for number, it in rows.items()} if view == "split" else {},
    )  # fmt: skip


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
    return _page(request, "activity.html", chosen, events, tab="activity", tail=tail)


@router.get("/{task}/network")
async def network(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
) -> Response:
    """Show whom an attempt asked, what was refused and why, and what would let that pass."""
    events = await quiet_events(intake, chosen)
    own = chosen.own(events)
    proposal = network_proposal(chosen, own)
    source = chosen.status.task.environment_source
    is_stored = source is not None and source.kind is SourceKind.STORED and proposal.startswith("[network]")
    return _page(
        request,
        "network.html",
        chosen,
        events,
        tab="network",
        egress=egress_entries(own),
        proposal=proposal,
        is_stored=is_stored,
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
    return _page(request, "details.html", chosen, await quiet_events(intake, chosen), tab="details", waterfall=picture)


@router.get("/{task}/patch", response_class=Response)
async def patch(task: str, intake: FrontDoor, _: Viewer, chosen: ChosenAttempt) -> Response:
    """Return a change to be saved."""
    change = await intake.change(task, attempt=chosen.attempt.number, turn=chosen.turn.number)
    name = f"{chosen.status.task.id}-{chosen.turn.number}-{chosen.attempt.number}.patch"
    return Response(change.diff, media_type="text/x-diff", headers=_saved_as(name))


@router.get("/{task}/record", response_class=Response)
async def record(
    task: str, intake: FrontDoor, _: Viewer, turn: TurnNumber = None, attempt: AttemptNumber = None
) -> Response:
    """Return the signed record to be saved."""
    envelope = await intake.record(task, attempt=attempt, turn=turn)
    return Response(envelope, media_type="application/json", headers=_saved_as(f"{task}.json"))


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
    data = await intake.artifact(task, name, attempt=attempt, turn=turn)
    return Response(data, media_type="application/octet-stream", headers=_saved_as(name.rsplit("/", 1)[-1]))


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
    found, _turn = await intake.follow_up(task, prompt, attempt=attempt, attempts=attempts, asked_by=caller.name)
    return RedirectResponse(f"/tasks/{found}", 303)


def _saved_as(name: str) -> dict[str, str]:
    """Return the header that lets a browser save an answer under that name (RFC 6266) and never show it."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}


def refusals_of(attempt: str, events: Iterable[RecordedEvent]) -> int:
    """Return how many requests of an attempt were refused."""
    return sum(isinstance(it.event, EgressRefused) for it in events if it.attempt == attempt)


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
    first = read[0].seq if read else start
    teller = Activity()
    for recorded in own:
        if recorded.seq < first:
            teller.feed(recorded)  # it remembers the command lines
    entries = joined(entry for recorded in chosen.own(read) for entry in teller.feed(recorded))
    return Tail(
        entries=entries, earlier=first if first > chosen.turn.seq else None, last=read[-1].seq if read else start - 1
    )


def _page(request: Request, template: str, chosen: Chosen, events: list[RecordedEvent], **values: Any) -> HTMLResponse:
    source = chosen.status.task.environment_source
    is_over = chosen.status.state is TaskState.FINISHED
    has_change = chosen.attempt.outcome is not None and chosen.attempt.outcome.change is not None
    caller: Caller = request.state.caller
    return render(
        request,
        template,
        source=source_to_text(source) if source else "",
        attempt_state=str(chosen.attempt.outcome.verdict if chosen.attempt.outcome else chosen.attempt.state),
        can_follow=is_over and has_change and chosen.is_last_turn and caller.role.includes(Role.MEMBER),
        again=again_address(chosen.status.task),
        last_quiet=events[-1].seq if events else chosen.turn.seq - 1,
        chosen=chosen,
        status=chosen.status,
        task=chosen.status.task,
        attempt=chosen.attempt,
        outcome=chosen.attempt.outcome,
        phases=chosen.line(events),
        refused=refusals_of(chosen.attempt.attempt, events),
        **values,
    )
