"""Servers at real sockets, with a worker, of an installation whose sandboxes are scripted."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import pytest
from fastapi import FastAPI

from cloister import wiring
from cloister.api.app import make_app
from cloister.api.forge_webhook import add_forge_webhook
from cloister.api.listening import Ends, answer, owned_socket, public_socket
from cloister.api.login import add_login
from cloister.api.oidc_login import add_oidc_login
from cloister.api.operations import add_operations
from cloister.client import Client
from cloister.codex_api.routes import add_codex
from cloister.mcp.late import add_mcp
from cloister.model.request import Request
from cloister.model.token import Role
from cloister.settings import Settings
from cloister.web.routes import add_web

from ..cli.conftest import Installation, installation
from ..forges.conftest import server as git_server

__all__ = ["git_server", "installation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that runs."""

    application: wiring.Application
    port: int
    repository: str
    """Address of the installation's project, for callers with tokens."""
    end: Callable[[], Awaitable[None]]
    """Ends it, and waits for that."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def as_owner(self) -> AbstractAsyncContextManager[Client]:
        """Call over the socket of the state directory."""
        return Client.over_socket(self.application.settings.socket)

    @asynccontextmanager
    async def as_holder(self, role: Role) -> AsyncIterator[Client]:
        """Call from elsewhere, with a token of that role."""
        async with Client.connect(self.address, token=await self.token(role)) as client:
            yield client

    async def token(self, role: Role) -> str:
        """Make one."""
        return (await self.application.tokens.create(role.name, role))[1]

    def request(self, **changes: object) -> Request:
        """Ask for a task that a command does."""
        asked = Request(repository=self.repository, prompt="fix the test", command="make fix")
        return dataclasses.replace(asked, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where servers of one installation are started and ended."""

    installation: Installation
    repository: str

    @asynccontextmanager
    async def server(
        self, *, port: int = 0, works: bool = True, logs: bool = False, **settings_: Any
    ) -> AsyncIterator[Server]:
        """Run a server until the end of the block. Containers of the node outlive it."""
        state = self.installation.state
        state.mkdir(exist_ok=True)
        settings = Settings(state=state, **settings_)
        with owned_socket(settings.socket) as near, public_socket(("127.0.0.1", port)) as far:
            assert far is not None
            async with wiring.open_application(settings) as application, anyio.create_task_group() as group:
                if works:
                    group.start_soon(application.work)
                additions: tuple[Callable[[FastAPI], None], ...] = (
                    add_web,
                    add_login,
                    add_oidc_login,
                    add_codex,
                    add_mcp,
                    add_forge_webhook,
                )
                if logs:
                    operations = partial(add_operations, health=application.health, page=None, readers="off")
                    additions = (*additions, operations)
                make = partial(
                    make_app,
                    application.intake,
                    application.access,
                    additions=additions,
                    automation=application.automation,
                    settings=settings,
                )
                ended = anyio.Event()

                async def serve() -> None:
                    try:
                        await answer(make, application.access, settings, Ends(near=near, far=far))
                    finally:
                        ended.set()

                async def end() -> None:
                    group.cancel_scope.cancel()
                    await ended.wait()

                group.start_soon(serve)
                port = far.getsockname()[1]
                yield Server(application=application, port=port, repository=self.repository, end=end)
                group.cancel_scope.cancel()


@pytest.fixture
def machine(installation: Installation, git_server: str) -> Machine:
    return Machine(installation, f"{git_server}/project/.git")


@pytest.fixture
async def server(machine: Machine) -> AsyncIterator[Server]:
    async with machine.server() as running:
        yield running


@pytest.fixture
async def server_without_worker(machine: Machine) -> AsyncIterator[Server]:
    """One whose tasks wait."""
    async with machine.server(works=False) as running:
        yield running
