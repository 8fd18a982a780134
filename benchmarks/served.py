"""A server of ours as a process, and how a benchmark talks to it."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx

PROGRAM = (sys.executable, str(Path(sys.executable).with_name("cloister")))
"""As this interpreter runs it, whatever PATH says."""
_STARTED_SECONDS = 120.0
_ANSWER_SECONDS = 120.0


@asynccontextmanager
async def serving(state: Path, **settings: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run a server with these settings; yields a client of its socket."""
    async with running(state, **settings), connect(state / "cloister.sock") as client:
        yield client


@asynccontextmanager
async def running(state: Path, **settings: str) -> AsyncIterator[int]:
    """The same; yields the id of its process."""
    variables = {f"CLOISTER_{name.upper()}": value for name, value in settings.items()}
    environment = {**os.environ, **variables, "CLOISTER_STATE": str(state), "CLOISTER_DRAIN": "0s"}
    # A pipe of the loop's own would be complained of at its end: what a server leaves running holds it open.
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as words:  # noqa: ASYNC230, PTH123
        with open(writing, "wb") as theirs:  # noqa: ASYNC230, PTH123
            server = await anyio.open_process((*PROGRAM, "serve"), env=environment, stdout=theirs, stderr=None)
        try:
            with anyio.fail_after(_STARTED_SECONDS):
                await anyio.wait_readable(words)
            said = words.read(1000)
            if b"listening" not in said:
                raise RuntimeError(f"the server said: {said.decode()}")
            yield server.pid
        finally:
            with anyio.CancelScope(shield=True):
                server.terminate()
                await server.wait()


@asynccontextmanager
async def connect(path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Talk HTTP to whoever listens at that socket, over as many connections as are needed."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    transport = httpx.AsyncHTTPTransport(uds=str(path), limits=limits)
    async with httpx.AsyncClient(base_url="http://here", transport=transport, timeout=_ANSWER_SECONDS) as client:
        yield client
