"""Responses that tell of events as they come, until all are told or the server ends."""

from collections.abc import AsyncIterator

import anyio
from fastapi import Request
from sse_starlette import EventSourceResponse, ServerSentEvent

from cloister.access import Access
from cloister.api.caller import Caller

KEEP_ALIVE_SECONDS = 15
"""How often an event stream says that it is still there."""
SLOWEST_READER_SECONDS = 30.0
"""How long one event may take to be read before the stream is cut; its reader can come back with Last-Event-ID."""
LOOK_AGAIN_SECONDS = 15.0
"""How often a stream looks whether its reader is still let in."""
LAST_WORDS_SECONDS = 2.0
"""How long a stream may take to tell what there is to tell when its server ends."""


def event_stream(events: AsyncIterator[ServerSentEvent], request: Request) -> EventSourceResponse:
    """Return the response. One that ends with its server has no last event; its reader comes back to the next one.

    `events` end by themselves, and soon, once `app.state.ending` is set.
    """
    ending: anyio.Event = request.app.state.ending
    sending, receiving = anyio.create_memory_object_stream[ServerSentEvent]()

    async def send() -> None:
        with sending:
            async with anyio.create_task_group() as group:
                group.start_soon(_cut, ending, group.cancel_scope)
                group.start_soon(_cut_off_who_is_let_in_no_more, request, group.cancel_scope)
                async for event in events:
                    await sending.send(event)
                group.cancel_scope.cancel()

    async def received() -> AsyncIterator[ServerSentEvent]:
        with receiving:
            async for event in receiving:
                yield event

    return EventSourceResponse(
        received(), data_sender_callable=send, ping=KEEP_ALIVE_SECONDS, send_timeout=SLOWEST_READER_SECONDS
    )


async def cancel_when(happened: anyio.Event, scope: anyio.CancelScope) -> None:
    """Cancel the scope when it happened."""
    await happened.wait()
    scope.cancel()


async def _cut_off_who_is_let_in_no_more(request: Request, scope: anyio.CancelScope) -> None:
    """Let no stream outlive the token or session that it was asked for with by much."""
    access: Access = request.app.state.access
    caller: Caller = request.state.caller
    while True:
        await anyio.sleep(LOOK_AGAIN_SECONDS)
        if not await access.lets_in(caller.by):
            scope.cancel()
            return


async def _cut(ending: anyio.Event, scope: anyio.CancelScope) -> None:
    await ending.wait()
    await anyio.sleep(LAST_WORDS_SECONDS)
    scope.cancel()
