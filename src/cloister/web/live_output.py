"""What programs of an attempt print, for a terminal on a page: as it comes, as a recording, and whole."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from cloister.api.body import LARGEST_NUMBER
from cloister.api.caller import Viewer
from cloister.api.event_stream import event_stream
from cloister.api.front import FrontDoor
from cloister.asciicast import header_line, output_line
from cloister.errors import NotFoundError
from cloister.intake import Intake
from cloister.model.event import PersonEntered, RecordedEvent
from cloister.replay import screen_text, shown
from cloister.web.chosen import AttemptNumber, Chosen, ChosenAttempt, TurnNumber, quiet_events
from cloister.web.live import next_batch
from cloister.web.page import PageRoute
from cloister.web.saved import saved_as
from cloister.web.task_view import task_page

MOST_CHARACTERS = 96 * 1024
"""Of one message: of a flood, a page gets the newest, and is told how much it did not get."""

_ASCIICAST = "application/x-asciicast"

router = APIRouter(
    prefix="/tasks", tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse
)


@router.get("/{task}/output", response_class=EventSourceResponse)
async def output(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
    after: Annotated[int, Query(ge=0, le=LARGEST_NUMBER)] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_NUMBER)] = None,
) -> EventSourceResponse:
    """Tell a terminal what it does not show yet. It ends with an event `over`."""
    start = after if last_event_id is None else last_event_id
    return event_stream(_told(intake, chosen, start), request)


async def _told(intake: Intake, chosen: Chosen, start: int) -> AsyncIterator[ServerSentEvent]:
    while batch := await next_batch(intake, chosen.status.task.id, start):
        start = batch[-1].seq
        newest, left_out = _newest_text(chosen.own(batch))
        if newest:
            yield ServerSentEvent(
                json.dumps({"text": newest, "left_out": left_out}), event="output", id=str(start), sep="\n"
            )
    yield ServerSentEvent("over", event="over", sep="\n")


def _newest_text(events: Sequence[RecordedEvent]) -> tuple[str, int]:
    """Return the end of what a terminal draws of these events, and how much is left out; that is not looked at."""
    texts, length, skipped = list[str](), 0, 0
    for recorded in reversed(events):
        if length > MOST_CHARACTERS:
            skipped += len(getattr(recorded.event, "text", ""))
        else:
            texts.append(screen_text(recorded))
            length += len(texts[-1])
    newest, left_out = newest_of("".join(reversed(texts)))
    return newest, left_out + skipped


def newest_of(text: str) -> tuple[str, int]:
    """Return as much of a text's end as one message holds, from the beginning of a line on, and what that leaves out.

    >>> newest_of("short")
    ('short', 0)
    """
    if len(text) <= MOST_CHARACTERS:
        return text, 0
    cut = text.find("\n", len(text) - MOST_CHARACTERS) + 1 or len(text) - MOST_CHARACTERS
    return text[cut:], cut


@router.get("/{task}/log", response_class=StreamingResponse)
async def log(intake: FrontDoor, _: Viewer, chosen: ChosenAttempt) -> Response:
    """Return all that an attempt's programs printed and its agent told, to be saved: as it was written, but masked."""
    name = f"{chosen.status.task.id}-{chosen.turn.number}-{chosen.attempt.number}.log"
    return StreamingResponse(_whole(intake, chosen), media_type="text/plain", headers=saved_as(name))


async def _whole(intake: Intake, chosen: Chosen) -> AsyncIterator[bytes]:
    async for recorded in intake.events(chosen.status.task.id, after=chosen.turn.seq - 1):
        if recorded.attempt == chosen.attempt.attempt and (text := screen_text(recorded)):
            yield text.encode(errors="replace")


@router.get("/{task}/recording")
async def recording(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
    shell: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """Show a player for what the agent's terminal showed, or that of somebody who came in."""
    events = await quiet_events(intake, chosen)
    return task_page(
        request, "recording.html", chosen, events, tab="activity", shell=shell, shells=shells_of(chosen, events)
    )


@router.get("/{task}/recording.cast", response_class=Response)
async def cast(
    task: str,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
    turn: TurnNumber = None,
    attempt: AttemptNumber = None,
    shell: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """Return a recording (asciicast, version 2), for the player and to be saved."""
    title = f"attempt {chosen.attempt.number} of task {chosen.status.task.id}"
    name = f"{chosen.status.task.id}-{chosen.turn.number}-{chosen.attempt.number}.cast"
    if shell is not None:
        data = await intake.results.shell_recording(task, shell, attempt=attempt, turn=turn)
        return Response(data, media_type=_ASCIICAST, headers=saved_as(name))
    lines = _recorded(intake, chosen, title)
    begin = await anext(lines, None)
    if begin is None:
        raise NotFoundError(f"the agent of {title} has printed nothing")
    return StreamingResponse(_one_after(begin, lines), media_type=_ASCIICAST, headers=saved_as(name))


async def _recorded(intake: Intake, chosen: Chosen, title: str) -> AsyncIterator[bytes]:
    """Yield the recording as the log is read: of a long one, nobody holds all."""
    begin: datetime | None = None
    async for recorded in intake.events(chosen.status.task.id, after=chosen.turn.seq - 1):
        for at, text in shown(chosen.own([recorded])):
            if begin is None:
                begin = at
                yield header_line(at=at, title=title).encode() + b"\n"
            yield output_line((at - begin).total_seconds(), text).encode() + b"\n"


async def _one_after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for each in rest:
        yield each


def shells_of(chosen: Chosen, events: Sequence[RecordedEvent]) -> list[int]:
    """Return the numbers of those who came into an attempt's sandbox."""
    return [it.event.shell for it in chosen.own(events) if isinstance(it.event, PersonEntered)]
