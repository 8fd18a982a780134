"""The protocol over HTTP from the first request for it on: until then its types would take 20 MB for nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
from anyio import to_thread
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"


def add_mcp(app: FastAPI) -> None:
    """Let the application answer the protocol too, at `PATH`, for whoever may call the API there."""
    late = _LateMcp(app)
    app.router.routes.append(Route(PATH, endpoint=late))
    app.router.lifespan_context = late.lifespan


class _LateMcp:
    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._asked = anyio.Event()
        self._ready = anyio.Event()
        self._answer: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asked.set()
        await self._ready.wait()
        assert self._answer is not None
        await self._answer(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self._run)
            yield
            group.cancel_scope.cancel()

    async def _run(self) -> None:
        await self._asked.wait()
        open_protocol = await to_thread.run_sync(_load)
        async with open_protocol(self._app) as self._answer:
            self._ready.set()
            await anyio.sleep_forever()


def _load() -> Callable[[FastAPI], AbstractAsyncContextManager[ASGIApp]]:
    from cloister.mcp.route import open_protocol

    return open_protocol
