"""A page that grows while something that takes minutes is done: its progress is told as it comes, without a script."""

from collections.abc import Awaitable, Callable

import anyio
from fastapi import Request
from fastapi.responses import Response
from starlette.types import Message, Receive, Scope, Send

from cloister.api.event_stream import cancel_when
from cloister.api.problem import error_to_problem
from cloister.errors import CloisterError
from cloister.model.image import BuildProgress
from cloister.web.page import to_text

Report = Callable[[BuildProgress], None]
Work = Callable[[Report], Awaitable[str]]
"""Does it, reports how far it is, and returns in a few words what there is now."""

_CUT = "<!-- progress -->"
_LAST = 1.0
_STEP = 0.05
"""Of the whole: less than that in the same stage is not told again."""


class ProgressPage(Response):
    """The answer to a form. Whoever goes away cancels what it asked for, as in the API."""

    def __init__(self, request: Request, *, title: str, back: str, work: Work) -> None:
        """`back` is the path of the page that shows the result."""
        super().__init__(media_type="text/html", headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._request, self._work, self._back = request, work, back
        self._head, self._tail = to_text(request, "progress.html", title=title).split(_CUT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the page, a line at a time."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(_part(self._head))
        async with anyio.create_task_group() as group:
            group.start_soon(cancel_when, self._request.app.state.ending, group.cancel_scope)
            group.start_soon(_cancel_when_gone, receive, group.cancel_scope)
            await self._tell(send)
            group.cancel_scope.cancel()
        await send(_part(self._tail, more=False))

    async def _tell(self, send: Send) -> None:
        telling, told = anyio.create_memory_object_stream[BuildProgress](1000)

        async def tell() -> None:
            last: BuildProgress | None = None
            with told:
                async for progress in told:
                    if last is None or progress.stage != last.stage or progress.fraction - last.fraction >= _STEP:
                        last = progress
                        await send(_part(self._line(progress)))

        def report(progress: BuildProgress) -> None:
            if telling.statistics().current_buffer_used < telling.statistics().max_buffer_size:
                telling.send_nowait(progress)

        async with anyio.create_task_group() as group:
            group.start_soon(tell)
            with telling:
                end = await self._end(report)
        await send(_part(end))

    async def _end(self, report: Report) -> str:
        try:
            done = await self._work(report)
        except CloisterError as error:
            problem = error_to_problem(error)
            return to_text(self._request, "part_progress_end.html", problem=problem, done="", back=self._back)
        return to_text(self._request, "part_progress_end.html", problem=None, done=done, back=self._back)

    def _line(self, progress: BuildProgress) -> str:
        percent = round(100 * min(_LAST, max(0.0, progress.fraction)))
        return to_text(self._request, "part_progress.html", stage=progress.stage, percent=percent)


def _part(text: str, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": more}


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
