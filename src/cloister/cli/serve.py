"""`cloister serve`: the server of this machine."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.session import open_state
from cloister.errors import ConflictError, HostError

if TYPE_CHECKING:
    from fastapi import FastAPI

_LONGEST_PATH = 107
"""Of a unix socket (unix(7))."""
_LAST_WORDS_SECONDS = 5
"""How long open event streams may go on once the server shall end."""


def serve(
    context: typer.Context,
    slots: Annotated[int | None, typer.Option(min=1, help="Attempts at once; by default as the settings say.")] = None,
) -> None:
    """Run the server: its API, and a worker. What it leaves unfinished goes on in its containers, for the next one.

    Example:  cloister serve --slots 8
    """
    import anyio

    from cloister import log, wiring
    from cloister.api.app import make_app
    from cloister.api.caller import authenticate_owner
    from cloister.cli.follow import interruptions

    settings = open_state(context)
    if slots is not None:
        settings = settings.model_copy(update={"slots": slots})

    async def work() -> None:
        async with (
            wiring.open_application(settings, measured=True) as application,
            interruptions() as interruption,
            anyio.create_task_group() as group,
        ):
            group.start_soon(application.work)
            group.start_soon(_answer, make_app(application.intake, authenticate_owner), listening)
            typer.echo(f"listening at {settings.socket}")
            await interruption.next()
            group.cancel_scope.cancel()

    with log.logging_to_stderr(settings.log_level), _owned(settings.socket) as listening:
        anyio.run(work)


async def _answer(app: "FastAPI", listening: socket.socket) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Leaves signals to the command."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    config = uvicorn.Config(
        app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=_LAST_WORDS_SECONDS
    )
    await Server(config).serve(sockets=[listening])


@contextmanager
def _owned(path: Path) -> Iterator[socket.socket]:
    """Listen at the socket of a state directory, as the only one. ConflictError when somebody does already."""
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise HostError(f"{path} is too long a path for a socket", hint="name a shorter directory with CLOISTER_STATE")
    with path.with_suffix(".lock").open("w") as lock:
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
            try:
                yield listening
            finally:
                path.unlink(missing_ok=True)
