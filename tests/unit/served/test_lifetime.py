"""One server for a state directory, and commands find it."""

import socket

import anyio
import anyio.to_thread
import pytest

from cloister import wiring
from cloister.api.listening import owned_socket
from cloister.cli.session import is_served
from cloister.errors import ConflictError, HostError, UsageError
from cloister.model.token import Role
from cloister.settings import Settings

from ..cli.conftest import Installation
from .conftest import Machine

pytestmark = pytest.mark.anyio


async def test_a_second_server_on_the_same_state_directory_is_refused(machine: Machine) -> None:
    async with machine.server() as server:
        with pytest.raises(ConflictError, match="a server is running on"):
            async with machine.server():
                raise AssertionError
        async with server.as_owner() as owner:
            assert await owner.tasks() == [], "the first goes on"
    async with machine.server() as server, server.as_owner() as owner:
        assert await owner.tasks() == [], "and the next one may"


async def test_a_port_that_is_taken_is_said(machine: Machine, installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="cannot listen at"):
        async with machine.server(port=taken.getsockname()[1]):
            raise AssertionError
    assert not Settings(state=installation.state).socket.exists()


async def test_the_socket_of_a_killed_server_is_in_nobodys_way(machine: Machine, installation: Installation) -> None:
    installation.state.mkdir()
    path = Settings(state=installation.state).socket
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
        killed.listen()
    assert path.exists()
    assert not is_served(path)
    listed = await anyio.to_thread.run_sync(installation.run, "task", "list")
    assert listed.exit_code == 0, listed.output
    async with machine.server() as server, server.as_owner() as owner:
        assert await owner.tasks() == []
    assert not path.exists()


async def test_only_the_owner_can_open_the_socket(machine: Machine) -> None:
    async with machine.server() as server:
        assert server.application.settings.socket.stat().st_mode & 0o777 == 0o600


def test_a_state_directory_too_deep_for_a_socket_is_said(installation: Installation) -> None:
    with pytest.raises(HostError, match="too long a path"), owned_socket(installation.state / ("a" * 100) / "x.sock"):
        raise AssertionError


async def test_commands_find_the_server(
    machine: Machine, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with machine.server() as server, server.as_owner() as owner:
        task = await owner.submit(server.request())
        await owner.wait(task.id)

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("the command opened the application itself")

        monkeypatch.setattr(wiring, "open_application", refuse)
        listed = await anyio.to_thread.run_sync(installation.run, "task", "list")
        assert listed.stdout.split("\t")[:2] == [task.id, "succeeded"], listed.output
        diff = await anyio.to_thread.run_sync(installation.run, "diff", task.id)
        assert diff.stdout.startswith("diff --git a/a.txt"), diff.output
        monkeypatch.setenv("CLOISTER_TOKEN", await server.token(Role.VIEWER))
        far = await anyio.to_thread.run_sync(installation.run, "--server", server.address, "task", "list")
        assert far.stdout == listed.stdout, far.output
        denied = await anyio.to_thread.run_sync(installation.run, "--server", server.address, "task", "cancel", task.id)
        assert denied.exit_code == 5, denied.output


async def test_a_server_that_is_not_there_is_said(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    asked = await anyio.to_thread.run_sync(installation.run, "--server", address, "task", "list")
    assert asked.exit_code == 3
    assert "no answer from" in asked.stderr
