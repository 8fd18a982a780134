"""Responses to requests that take minutes: server-sent events that say how far it is, and at last what came of it."""

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
from fastapi import Request
from pydantic import TypeAdapter
from sse_starlette import EventSourceResponse, ServerSentEvent

from cloister.api.event_stream import KEEP_ALIVE_SECONDS, cancel_when
from cloister.api.problem import error_to_problem
from cloister.api.wire import DONE, FAILED, PROGRESS
from cloister.errors import CloisterError
from cloister.model.image import BuildProgress

TOLD: dict[int | str, dict[str, Any]] = {
    200: {
        "description": f"Events `{PROGRESS}` (`stage`, `fraction` from 0 to 1), and at last `{DONE}` with the result, "
        f"or `{FAILED}` with a problem document. Whoever goes away cancels it.",
    }
}
"""Of routes that answer so."""


def progress_response(
    request: Request, work: Callable[[Callable[[BuildProgress], None]], Awaitable[Any]], kind: Any
) -> EventSourceResponse:
    """Return the response that carries out `work`, whose result is a `kind`."""
    ending: anyio.Event = request.app.state.ending
    sending, receiving = anyio.create_memory_object_stream[ServerSentEvent](math.inf)

    def report(progress: BuildProgress) -> None:
        tell(PROGRESS, {"stage": progress.stage, "fraction": progress.fraction})

    def tell(event: str, fields: Any) -> None:
        sending.send_nowait(ServerSentEvent(json.dumps(fields), event=event, sep="\n"))

    async def send() -> None:
        with sending:
            async with anyio.create_task_group() as group:
                group.start_soon(cancel_when, ending, group.cancel_scope)
                try:
                    tell(DONE, TypeAdapter(kind).dump_python(await work(report), mode="json"))
                except CloisterError as error:
                    tell(FAILED, error_to_problem(error).model_dump(exclude_none=True))
                group.cancel_scope.cancel()

    async def received() -> AsyncIterator[ServerSentEvent]:
        with receiving:
            async for event in receiving:
                yield event

    return EventSourceResponse(received(), data_sender_callable=send, ping=KEEP_ALIVE_SECONDS)
