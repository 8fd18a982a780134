"""`cloister mcp`: the Model Context Protocol on standard input and output."""

import sys

import typer

from cloister.cli.session import open_service, start_background_worker


def mcp(context: typer.Context) -> None:
    """Be a server of the Model Context Protocol, for an assistant or editor that starts this command.

    Example:  cloister mcp
    """
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager
    from typing import Any

    import anyio
    from mcp.server.mcpserver import Context

    from cloister.client import Client
    from cloister.mcp.server import make_server
    from cloister.model.task import TaskId

    async def work() -> None:
        async with open_service(context) as service:

            @asynccontextmanager
            async def connect(_: Context[Any, Any]) -> AsyncIterator[Client]:
                yield service.client

            async def on_accepted(task: TaskId) -> None:
                start_background_worker(context, task)

            await make_server(connect, on_accepted).run_stdio_async()

    if sys.stdin.isatty():
        typer.echo("this command speaks a protocol on standard input; an assistant starts it", err=True)
    anyio.run(work)
