"""Tasks: give one, see where it is, what happened in it and what came of it, and end it."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Annotated

from anyio import Event
from fastapi import APIRouter, Header, Query, Request, Response, status
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from cloister.api.body import LARGEST_NUMBER, Body
from cloister.api.caller import Member, Viewer
from cloister.api.event_stream import event_stream
from cloister.api.front import FrontDoor, check_priority, check_repository
from cloister.api.once import AtMostOnce
from cloister.api.task_request import FileBody, TaskBody, bodies_to_uploads, body_to_request
from cloister.api.task_shape import TaskShape, status_to_shape
from cloister.api.wire import AcceptedTurn
from cloister.errors import DeniedError
from cloister.event_line import event_to_line
from cloister.intake import Intake
from cloister.model.cancellation import Cancellation
from cloister.model.event import TaskFinished
from cloister.model.task import TaskId, TaskState, TaskStatus, Verdict, as_accepted, follow_up_of
from cloister.model.task_filter import LOOKED_AT, TaskFilter
from cloister.model.trace import parse_traceparent

MOST_LISTED = 1000

_BYTES = "application/octet-stream"
_ASCIICAST = "application/x-asciicast"

router = APIRouter(prefix="/tasks", tags=["tasks"])

TurnNumber = Annotated[int | None, Query(alias="turn", ge=1, description="By default the last one.")]
AttemptNumber = Annotated[int | None, Query(alias="attempt", ge=1, description="By default the best one.")]


class TurnBody(Body):
    """What is asked next."""

    prompt: str
    attempt: int | None = None
    """The attempt of the last turn to go on from; null is the best that left something."""
    attempts: int = 1
    files: tuple[FileBody, ...] = ()
    """What comes with the prompt, as for a task."""


class TaskPage(BaseModel):
    """A page of tasks."""

    items: list[TaskShape]
    cursor: str | None
    """Of the next page; null on the last. That of a search may come behind fewer items than were asked for."""


def next_cursor(found: Sequence[TaskStatus], limit: int) -> str | None:
    """Return what the next page is asked for with; None when there is none."""
    return found[-1].task.id if len(found) == limit else None


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(
    body: TaskBody,
    intake: FrontDoor,
    caller: Member,
    once: AtMostOnce,
    traceparent: Annotated[str | None, Header()] = None,
) -> TaskShape:
    """Accept a task; it is on disk when this answers, and told of as it was accepted.

    It goes on the caller's trace (W3C Trace Context), if any.
    """
    check_repository(body.repository, caller)
    if body.shell is not None and not caller.on_this_machine:
        raise DeniedError("a shell is opened on the server's own machine")
    check_priority(body.priority, caller)
    request = replace(
        body_to_request(body), trace_parent=parse_traceparent(traceparent), guarded=not caller.on_this_machine
    )
    if once.kept is not None:
        task = (await intake.task(once.kept.task)).task
    else:
        task = await intake.submit(request, once.key, asked_by=caller.name)
    return status_to_shape(as_accepted(task))


@router.get("")
async def find(
    intake: FrontDoor,
    _: Viewer,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    cursor: Annotated[str | None, Query(description="Of the page before.")] = None,
    environment: Annotated[str | None, Query(description="Only its tasks.")] = None,
    state: Annotated[TaskState | Verdict | None, Query(description="Only those that are, or ended, so.")] = None,
    text: Annotated[str, Query(max_length=200, description="Of the prompt, the repository, or the id.")] = "",
    archived: Annotated[bool, Query(description="Those that were archived, in place of the others.")] = False,
) -> TaskPage:
    """Return the newest tasks, newest first. A search for text or a state looks at 5,000 tasks a page."""
    only = TaskFilter(environment=environment, state=state, text=text, archived=archived)
    if only.is_search:
        only = replace(only, within=LOOKED_AT)
    found = await intake.tasks(limit=limit, before=cursor, only=only)
    following = next_cursor(found, limit)
    if only.within is not None and following is None:
        following = await intake.last_looked_at(within=only.within, before=cursor)
    return TaskPage(items=[status_to_shape(task) for task in found], cursor=following)


@router.get("/{task}")
async def get(task: str, intake: FrontDoor, _: Viewer) -> TaskShape:
    """Say where a task is; by its id or a unique beginning of it."""
    return status_to_shape(await intake.task(task))


@router.get("/{task}/events", response_class=EventSourceResponse)
async def events(
    task: str,
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    after: Annotated[int, Query(ge=0, le=LARGEST_NUMBER, description="Only what has a higher `seq`.")] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_NUMBER)] = None,
    follow: Annotated[bool, Query(description="Go on until the task is over.")] = True,
    output: Annotated[bool, Query(description="With what programs printed.")] = True,
) -> EventSourceResponse:
    """Tell what happened in a task, as server-sent events; the id of each is its `seq`.

    When the task is over, and all is told, the stream ends with an event `end`.
    """
    found = (await intake.task(task)).task.id
    start = after if last_event_id is None else last_event_id
    told = _server_sent(intake, found, after=start, follow=follow, output=output, ending=request.app.state.ending)
    return event_stream(told, request)


async def _server_sent(
    intake: Intake, task: TaskId, *, after: int, follow: bool, output: bool, ending: Event
) -> AsyncIterator[ServerSentEvent]:
    is_over = False
    async for recorded in intake.events(task, after=after, follow=follow, output=output, until=ending):
        is_over = isinstance(recorded.event, TaskFinished)
        yield ServerSentEvent(
            json.dumps(event_to_line(recorded)), event=recorded.event.wire_name, id=str(recorded.seq), sep="\n"
        )
    if is_over or not (follow and ending.is_set()):
        yield ServerSentEvent("{}", event="end", sep="\n")


@router.get("/{task}/diff", response_class=Response, responses={200: {"content": {"text/x-diff": {}}}})
async def diff(
    task: str, intake: FrontDoor, _: Viewer, attempt: AttemptNumber = None, turn: TurnNumber = None
) -> Response:
    """Return what an attempt changed, as git writes it."""
    change = await intake.results.change(task, attempt=attempt, turn=turn)
    return Response(change.diff, media_type="text/x-diff")


@router.get("/{task}/record", response_class=Response, responses={200: {"content": {"application/json": {}}}})
async def record(
    task: str, intake: FrontDoor, _: Viewer, attempt: AttemptNumber = None, turn: TurnNumber = None
) -> Response:
    """Return the signed record of an attempt: an envelope (DSSE)."""
    return Response(await intake.results.record(task, attempt=attempt, turn=turn), media_type="application/json")


@router.get("/{task}/artifact", response_class=Response, responses={200: {"content": {_BYTES: {}}}})
async def artifact(
    task: str,
    intake: FrontDoor,
    _: Viewer,
    name: Annotated[str, Query(description="Of the file, as the outcome names it.")],
    attempt: AttemptNumber = None,
    turn: TurnNumber = None,
) -> Response:
    """Return a file that an attempt's agent left, to be saved and never shown as a page."""
    data = await intake.results.artifact(task, name, attempt=attempt, turn=turn)
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=_BYTES, headers=headers)


@router.get("/{task}/shells/{number}", response_class=Response, responses={200: {"content": {_ASCIICAST: {}}}})
async def shell_recording(
    task: str, number: int, intake: FrontDoor, _: Viewer, attempt: AttemptNumber = None, turn: TurnNumber = None
) -> Response:
    """Return what a person's shell in an attempt showed: an asciicast, version 2."""
    data = await intake.results.shell_recording(task, number, attempt=attempt, turn=turn)
    return Response(data, media_type=_ASCIICAST)


@router.post("/{task}/cancel", status_code=status.HTTP_202_ACCEPTED)
async def cancel(
    task: str,
    intake: FrontDoor,
    _: Member,
    attempt: Annotated[int | None, Query(ge=1, description="This one alone.")] = None,
    grace_seconds: Annotated[float, Query(description="From SIGTERM to the kill of a running agent.")] = 0.0,
    collect: Annotated[bool, Query(description="Take out what a running agent has changed.")] = False,
) -> TaskShape:
    """Ask for the end of a task, or of one attempt of its last turn. Harmless twice, and when it is over."""
    cancellation = Cancellation(grace_seconds=grace_seconds, collect=collect)
    found = await intake.cancel(task, attempt=attempt, cancellation=cancellation)
    return status_to_shape(await intake.task(found))


@router.post("/{task}/turns", status_code=status.HTTP_201_CREATED)
async def follow_up(task: str, body: TurnBody, intake: FrontDoor, caller: Member, once: AtMostOnce) -> AcceptedTurn:
    """Accept one more turn of a task, which goes on from an attempt of the last. 409 while that is not over."""
    if once.kept:
        turn = follow_up_of(await intake.task(once.kept.task), once.kept.turn)
        return AcceptedTurn(task=once.kept.task, turn=replace(turn, asked_by=caller.name))
    found, turn = await intake.follow_up(
        task,
        body.prompt,
        attempt=body.attempt,
        attempts=body.attempts,
        files=bodies_to_uploads(body.files),
        key=once.key,
        asked_by=caller.name,
    )
    return AcceptedTurn(task=found, turn=turn)
