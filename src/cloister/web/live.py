"""What a page of a running attempt is told: its phases when they change, and what happens as it happens."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from cloister.api.body import LARGEST_NUMBER
from cloister.api.caller import Viewer
from cloister.api.event_stream import event_stream
from cloister.api.front import FrontDoor
from cloister.intake import Intake
from cloister.model.event import Output, RecordedEvent
from cloister.model.task import TaskId
from cloister.web.activity import Activity, joined
from cloister.web.chosen import Chosen, ChosenAttempt, quiet_events
from cloister.web.page import PageRoute, to_text
from cloister.web.task_view import refusals_of, state_of

BREATH_SECONDS = 0.15
"""How long events are gathered before a page is told: a flood of output is a few messages a second."""
MOST_AT_ONCE = 500
"""Events in one message."""

router = APIRouter(prefix="/tasks", route_class=PageRoute, include_in_schema=False)


@router.get("/{task}/live", response_class=EventSourceResponse)
async def live(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    chosen: ChosenAttempt,
    after: Annotated[int, Query(ge=0, le=LARGEST_NUMBER)] = 0,
    output: bool = True,
    last_event_id: Annotated[int | None, Header(ge=0, le=LARGEST_NUMBER)] = None,
) -> EventSourceResponse:
    """Tell a page what it does not know yet: parts of it, as HTML. It ends with an event `over`.

    Without `output`, what programs print is left out: a page with a terminal shows it there.
    """
    start = after if last_event_id is None else last_event_id
    return event_stream(_told(request, intake, chosen, start, output), request)


async def _told(
    request: Request, intake: Intake, chosen: Chosen, start: int, output: bool
) -> AsyncIterator[ServerSentEvent]:
    quiet = [event for event in await quiet_events(intake, chosen) if event.seq <= start]
    teller = Activity()
    for recorded in chosen.own(quiet):
        teller.feed(recorded)
    if chosen.own(quiet):  # the page may have been made of less
        for part in _phases(request, chosen, quiet, start):
            yield part
    while batch := await next_batch(intake, chosen.status.task.id, start, output=output):
        start = batch[-1].seq
        own = chosen.own(batch)
        entries = joined(entry for recorded in own for entry in teller.feed(recorded))
        if entries:
            yield _part(to_text(request, "part_entries.html", entries=entries), "entries", start)
        told = [recorded for recorded in batch if not isinstance(recorded.event, Output)]
        quiet += told
        if chosen.own(told):
            for part in _phases(request, chosen, quiet, start):
                yield part
    yield ServerSentEvent("over", event="over", sep="\n")


def _phases(request: Request, chosen: Chosen, quiet: list[RecordedEvent], seq: int) -> list[ServerSentEvent]:
    state = state_of(chosen, quiet)
    return [
        _part(to_text(request, "part_state.html", state=state, held_by=None), "state", seq),
        _part(to_text(request, "part_phases.html", phases=chosen.line(quiet), live=True), "phases", seq),
        _part(
            to_text(request, "part_refused.html", refused=refusals_of(chosen.attempt.attempt, quiet)), "refused", seq
        ),
    ]


async def next_batch(intake: Intake, task: TaskId, after: int, *, output: bool = True) -> list[RecordedEvent]:
    """Wait for the next event, and return it with those that follow closely; none when the task is over."""
    async with aclosing(intake.events(task, after=after, follow=True, output=output)) as following:  # type: ignore[type-var]
        first = await anext(following, None)
    if first is None:
        return []
    await anyio.sleep(BREATH_SECONDS)
    batch = [first]
    async with aclosing(intake.events(task, after=first.seq, output=output)) as gathered:  # type: ignore[type-var]
        async for recorded in gathered:
            batch.append(recorded)
            if len(batch) == MOST_AT_ONCE:
                break
    return batch


def _part(html: str, event: str, seq: int) -> ServerSentEvent:
    return ServerSentEvent(html, event=event, id=str(seq), sep="\n")
