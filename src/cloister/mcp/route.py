"""The protocol over HTTP, for whoever may call the API there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from mcp.server.mcpserver import Context
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from starlette.types import ASGIApp

from cloister.client import Client
from cloister.mcp.server import make_server
from cloister.model.task import TaskId


@asynccontextmanager
async def open_protocol(app: FastAPI) -> AsyncIterator[ASGIApp]:
    """Yield what answers it. Its tools call the application itself, as the same caller.

    No session is kept between requests, so that none can be taken over with another token.
    """

    @asynccontextmanager
    async def connect(context: Context[Any, Any]) -> AsyncIterator[Client]:
        borne = (context.headers or {}).get("authorization")
        async with Client.in_process(app, headers={"Authorization": borne} if borne else {}) as client:
            yield client

    async def carried_out_by_our_worker(_: TaskId) -> None:
        return

    server = make_server(connect, carried_out_by_our_worker)
    manager = StreamableHTTPSessionManager(server._lowlevel_server, stateless=True)
    async with manager.run():
        yield StreamableHTTPASGIApp(manager)
