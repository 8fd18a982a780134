"""How the servers of tests are run: on a free port, without signals, until a block ends."""

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from starlette.types import ASGIApp


def bound(host: str, port: int) -> tuple[socket.socket, str]:
    """Return a listening socket, at any free port when it is 0, and its address."""
    listener = socket.create_server((host, port))
    return listener, f"http://{host}:{listener.getsockname()[1]}"


@asynccontextmanager
async def serve(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    """Serve until the block ends; connections that are open then are cut."""
    server = _Server(
        uvicorn.Config(app, log_config=None, log_level="critical", lifespan="off", http="h11", date_header=False)
    )
    with listener:
        async with anyio.create_task_group() as group:
            group.start_soon(server.serve, [listener])
            try:
                yield
            finally:
                server.should_exit = server.force_exit = True


class _Server(uvicorn.Server):
    """Leaves signals to those who run it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
