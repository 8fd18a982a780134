"""What every command needs: the settings, and a client to talk to."""

import errno
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from cloister.errors import DiskFullError, HostError

if TYPE_CHECKING:
    from cloister.client import Client
    from cloister.model.task import TaskId
    from cloister.settings import Settings
    from cloister.wiring import Application

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """Options of `cloister` itself, before the command's name."""

    config: Path | None = None
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server that was named."""

    address: str
    token: str | None


def server_of(context: typer.Context) -> Server | None:
    """Return the server that this command shall talk to; None for the state directory's, or none at all."""
    options = context.find_object(GlobalOptions)
    address = (options.server if options else None) or os.environ.get("CLOISTER_SERVER")
    return Server(address=address.rstrip("/"), token=os.environ.get("CLOISTER_TOKEN")) if address else None


def config_of(context: typer.Context) -> Path | None:
    """Return the settings file that was named before the command."""
    options = context.find_object(GlobalOptions)
    return options.config if options else None


def settings_of(context: typer.Context) -> "Settings":
    """Read the settings that this command shall use."""
    from cloister.settings_files import load_settings

    return load_settings(config_of(context))


def open_state(context: typer.Context) -> "Settings":
    """Read the settings, and make sure of the state directory, which only its owner reads.

    Raises HostError or DiskFullError when it cannot be written.
    """
    settings = settings_of(context)
    try:
        settings.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.log_directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        kind = DiskFullError if error.errno == errno.ENOSPC else HostError
        raise kind(
            f"cannot write the state directory {settings.state}: {error.strerror}",
            hint="name another one with CLOISTER_STATE",
        ) from error
    return settings


@asynccontextmanager
async def open_application(context: typer.Context, *, asked_only: bool = False) -> "AsyncIterator[Application]":
    """Start the application inside this command. Its log goes to a file, since the terminal is the user's.

    `asked_only` is for commands that run no task.
    """
    from cloister import log, wiring

    settings = open_state(context)
    with log.logging_to_file(settings.log_directory, settings.log_level):
        async with wiring.open_application(settings, asked_only=asked_only) as application:
            yield application


@dataclass(frozen=True, slots=True)
class Service:
    """Cloister as a command finds it."""

    client: "Client"
    application: "Application | None"
    """The one inside this command; None where a server has its own, and does the work."""


@asynccontextmanager
async def open_service(
    context: typer.Context, *, embedded: bool = False, asked_only: bool = False
) -> "AsyncIterator[Service]":
    """Talk to the server that was named, else to that of the state directory, else start the application in here.

    With `embedded` in here in any case; `asked_only` as for `open_application`.
    """
    from cloister.client import Client

    if (server := server_of(context)) and not embedded:
        async with Client.connect(server.address, token=server.token, note=_print_note) as client:
            yield Service(client=client, application=None)
        return
    path = open_state(context).socket
    if is_served(path) and not embedded:
        async with Client.over_socket(path) as client:
            yield Service(client=client, application=None)
        return
    async with open_embedded(context, asked_only=asked_only) as (client, application):
        yield Service(client=client, application=application)


def _print_note(note: str) -> None:
    from cloister.cli.terminal import error_console, print_line

    print_line(error_console(), f"note: {note}")  # not among what is asked for, which may be JSON


@asynccontextmanager
async def open_embedded(
    context: typer.Context, *, asked_only: bool = False
) -> "AsyncIterator[tuple[Client, Application]]":
    """Start the application inside this command, whatever servers there are, and talk to it."""
    from cloister.api.app import make_app
    from cloister.api.caller import authenticate_owner
    from cloister.client import Client

    async with (
        open_application(context, asked_only=asked_only) as application,
        Client.in_process(
            make_app(application.intake, application.access, authenticate_owner, automation=application.automation)
        ) as client,
    ):
        yield client, application


def is_served(path: Path) -> bool:
    """Whether a server listens there. One that was killed leaves its socket behind."""
    with socket.socket(socket.AF_UNIX) as trial:
        try:
            trial.connect(str(path))
        except OSError:
            return False
        return True


@asynccontextmanager
async def open_client(context: typer.Context) -> "AsyncIterator[Client]":
    """The client alone, for commands that only ask."""
    async with open_service(context, asked_only=True) as service:
        yield service.client


def ask(context: typer.Context, question: "Callable[[Client], Awaitable[T]]") -> T:
    """Answer one question of a command that follows nothing."""
    import anyio

    async def answer() -> T:
        async with open_client(context) as client:
            return await question(client)

    return anyio.run(answer)


def start_background_worker(context: typer.Context, task: "TaskId") -> None:
    """Start a process that carries out that task, unless somebody does, and then ends. A server needs none.

    It has a session of its own, so that the end of this terminal is not its end.
    """
    if server_of(context) or is_served(settings_of(context).socket):
        return
    settings = open_state(context)
    log = settings.log_directory / "worker.log"
    config = config_of(context)
    options = ["--config", str(config.absolute())] if config else []
    environment: Mapping[str, str] = {**os.environ, "CLOISTER_STATE": str(settings.state)}
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "cloister", *options, "worker", "--until-idle", "--task", task],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), appending, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
