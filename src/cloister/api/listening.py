"""Where the server listens: at a socket for its owner, and at an address for callers with tokens."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from cloister.access import Access
from cloister.api.arrival import Arrival
from cloister.api.caller import Authenticate, authenticate_owner
from cloister.api.guard import Guard
from cloister.errors import ConflictError, HostError, UsageError
from cloister.settings import Settings

LAST_WORDS_SECONDS = 5
"""How long answers in the making may take once the server shall end."""

_LONGEST_PATH = 107
"""Of a unix socket (unix(7))."""
_BACKLOG = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """Where a server is reached."""

    near: socket.socket
    """By the owner of the state directory."""
    far: socket.socket | None
    """By callers with tokens."""


class _Server(uvicorn.Server):
    """Leaves signals to the command."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def answer(make: Callable[[Authenticate], FastAPI], access: Access, settings: Settings, ends: Ends) -> None:
    """Answer at both until cancelled: who called is decided by which of the two was reached."""
    async with anyio.create_task_group() as group:
        near = make(authenticate_owner)
        group.start_soon(_answer_at, ends.near, near, _configured(near))
        if ends.far is not None:
            far = make(Guard(access))
            group.start_soon(_answer_at, ends.far, far, _public(far, settings))


async def _answer_at(listening: socket.socket, app: FastAPI, config: uvicorn.Config) -> None:
    """Answer until cancelled; what is being answered then may still come to its end, but event streams end at once."""
    server = _Server(config)
    async with anyio.create_task_group() as group:
        group.start_soon(_end_when_cancelled, server, app)
        with anyio.CancelScope(shield=True):
            await server.serve([listening])


async def _end_when_cancelled(server: uvicorn.Server, app: FastAPI) -> None:
    try:
        await anyio.sleep_forever()
    finally:
        server.should_exit = True
        app.state.ending.set()


def _public(app: FastAPI, settings: Settings) -> uvicorn.Config:
    config = _configured(_arriving(app, settings))
    config.ssl_certfile, config.ssl_keyfile = settings.tls_certificate, settings.tls_key
    return config


def _arriving(app: FastAPI, settings: Settings) -> Arrival:
    """Say who may reach it, and under which names: any, unless it listens for this machine or has a name of its own."""
    near = settings.listen is None or ip_address(settings.listen[0]).is_loopback
    name = urlsplit(settings.public_url or "").hostname
    return Arrival(
        app,
        proxies=settings.trusted_proxies,
        proxied_only=bool(settings.trusted_proxies) and not (near or settings.tls_certificate or settings.plain_http),
        names={name} if name else set() if near else None,
    )


def _configured(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=LAST_WORDS_SECONDS,
    )


@contextmanager
def owned_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at the socket of a state directory, as the only one. ConflictError when somebody does already."""
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise HostError(f"{path} is too long a path for a socket", hint="name a shorter directory with CLOISTER_STATE")
    with path.with_suffix(".sock.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(f"a server is running on {path.parent} already") from None
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as listening:
            previous = os.umask(0o177)
            try:
                listening.bind(str(path))
            finally:
                os.umask(previous)
            listening.listen(_BACKLOG)
            try:
                yield listening
            finally:
                path.unlink(missing_ok=True)


@contextmanager
def public_socket(endpoint: tuple[str, int] | None) -> Iterator[socket.socket | None]:
    """Listen at an address and port. UsageError when that cannot be had."""
    if endpoint is None:
        yield None
        return
    family = socket.AF_INET6 if ":" in endpoint[0] else socket.AF_INET
    try:
        listening = socket.create_server(endpoint, family=family, backlog=_BACKLOG)
    except OSError as error:
        hint = "stop what listens there, or choose another port" if error.errno == errno.EADDRINUSE else None
        raise UsageError(f"cannot listen at {endpoint[0]}, port {endpoint[1]}: {error.strerror}", hint=hint) from error
    with listening:
        # Handed down to connections. asyncio does it for sockets that say they are TCP, which this one's do not, and
        # the body of an answer would wait for the client to acknowledge its head: 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listening
