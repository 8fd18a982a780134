"""The process itself: what it may, who it dies with, and what is left open when it dies."""

import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import NOBODY, EgressProcess
from cloister.errors import EgressError
from cloister.model.network import NetworkMode
from cloister.model.sandbox import SandboxName

from .door import Door, client_hello, read_to_end
from .origin import Origin
from .world import World

_HALF_OPEN = 3000
_DESCRIPTORS = 2000


def status_of(pid: int | None) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: " ".join(value.split()) for name, _, value in (line.partition(":") for line in lines)}


async def test_it_has_no_privilege(door: Door) -> None:
    await door.open()
    status = status_of(door.egress.pid)
    assert status["Uid"] == status["Gid"] == " ".join([str(NOBODY)] * 4)
    assert status["Groups"] == ""
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert status["NoNewPrivs"] == "1"
    assert Path(f"/proc/{door.egress.pid}/mem").stat().st_uid == 0, "not dumpable: its memory is root's"


async def test_it_inherits_nothing_of_ours(door: Door, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:password@proxy.example")
    ours = os.memfd_create("ours", 0)
    try:
        os.set_inheritable(ours, True)
        async with EgressProcess(command_prefix=world.command_prefix) as egress:
            await Door(egress, door.listener).open()
            links = {str(link.readlink()) for link in Path(f"/proc/{egress.pid}/fd").iterdir()}
            variables = Path(f"/proc/{egress.pid}/environ").read_bytes()
    finally:
        os.close(ours)
    assert {link for link in links if link.startswith("/")} == {"/dev/null", "/memfd:egress-stderr (deleted)"}
    assert b"proxy" not in variables.lower()


async def test_killed_in_a_download_the_client_sees_a_reset_and_a_retry_works(
    door: Door, origins: dict[str, Origin]
) -> None:
    await door.open()
    async with await door.connect() as stream:
        await stream.send(b"GET http://example.com/endless HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await stream.receive()
        os.kill(door.egress.pid or 0, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            await read_to_end(stream)
    # The listener is the kernel's: who comes meanwhile waits, for the same policy.
    assert (await door.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")
    assert b"other.org is not in network.allow" in await door.get("http://other.org/")


async def test_while_it_is_down_nothing_passes(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    os.kill(door.egress.pid or 0, signal.SIGSTOP)
    async with await door.connect() as stream:
        await stream.send(b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
        with anyio.move_on_after(0.5) as waiting:
            await stream.receive()
        assert waiting.cancelled_caught and origins["http"].received == []
        os.kill(door.egress.pid or 0, signal.SIGKILL)
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 200 ")


async def test_a_policy_that_is_replaced_cuts_what_it_does_not_allow(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(allow=("example.com", "other.org"), ports=(80, 443, 8080))
    async with door.tunnel("example.com:443") as cut, door.tunnel("other.org:8080") as kept:
        await cut.send(client_hello("example.com"))
        await cut.receive()
        await kept.send(b"HELO\r\n\r\n")
        await kept.receive()
        await door.open(allow=("other.org",), ports=(80, 443, 8080))
        with pytest.raises(ConnectionResetError):
            await read_to_end(cut)
        await kept.send(b"still here")
        assert await kept.receive() == b"still here"
        await door.open(NetworkMode.OFF)
        with pytest.raises(ConnectionResetError):
            await read_to_end(kept)


async def test_close_cuts_everything_and_forgets_the_listeners(door: Door) -> None:
    await door.open(ports=(8080,))
    async with door.tunnel("example.com:8080") as tunnel:
        await door.egress.close(door.name)
        with pytest.raises(ConnectionResetError):
            await read_to_end(tunnel)
    await door.egress.close(door.name)
    address = door.listener.getsockname()
    door.listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_one_sandbox_does_not_take_the_place_of_another(world: World, origins: dict[str, Origin]) -> None:
    settings = EgressSettings(connections=8)
    async with EgressProcess(settings, command_prefix=world.command_prefix) as egress:
        with socket.create_server(("127.0.0.1", 0), backlog=200) as one, socket.create_server(("127.0.0.1", 0)) as two:
            greedy, modest = Door(egress, one, SandboxName("greedy")), Door(egress, two, SandboxName("modest"))
            await greedy.open()
            await modest.open()
            half_open = [socket.create_connection(one.getsockname()) for _ in range(100)]
            assert (await modest.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")
            open_there = len(list(Path(f"/proc/{egress.pid}/fd").iterdir()))
            assert open_there < 60, "the others wait in the kernel's queue"
            for connection in half_open:
                connection.close()
            assert (await greedy.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")
            assert [record.sandbox for record in modest.records] == ["modest"]


@pytest.mark.parametrize("capped", [True, False])
async def test_thousands_of_half_open_connections_stop_nobody_else(
    world: World, origins: dict[str, Origin], *, capped: bool
) -> None:
    """The twin has no cap: then they take all descriptors that the process may have, and others are not served."""
    few = ("prlimit", f"--nofile={_DESCRIPTORS}")
    settings = EgressSettings(connections=64 if capped else 100_000, request_seconds=60.0)
    async with EgressProcess(settings, command_prefix=(*few, *world.command_prefix)) as egress:
        with ExitStack() as opened:
            one = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=_HALF_OPEN))
            two = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            greedy, modest = Door(egress, one, SandboxName("greedy")), Door(egress, two, SandboxName("modest"))
            await greedy.open()
            await modest.open()
            for _ in range(_HALF_OPEN):
                opened.enter_context(socket.create_connection(one.getsockname()))
            with anyio.fail_after(30):
                while len(list(Path(f"/proc/{egress.pid}/fd").iterdir())) < (64 if capped else _DESCRIPTORS):  # noqa: ASYNC110
                    await anyio.sleep(0.05)
            with anyio.move_on_after(30 if capped else 3) as waiting:
                assert (await modest.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")
            assert waiting.cancelled_caught is not capped


async def test_a_process_that_cannot_start_is_an_error_with_its_last_words(door: Door) -> None:
    failing = ("/bin/sh", "-c", "echo no such thing >&2; exit 1")
    async with EgressProcess(command_prefix=failing, answer_seconds=3600.0) as egress:
        for _ in range(2):
            with pytest.raises(EgressError, match="cannot start") as caught:
                await Door(egress, door.listener).open()
            assert caught.value.hint == "It said: no such thing"
        await egress.close(door.name)


async def test_a_process_that_starts_in_the_end_serves_who_tries_again(
    door: Door, world: World, origins: dict[str, Origin], tmp_path: Path
) -> None:
    way = tmp_path / "way"
    script = f'test -e {way} || {{ echo no way >&2; exit 1; }}; exec "$@"'
    async with EgressProcess(command_prefix=("/bin/sh", "-c", script, "sh", *world.command_prefix)) as egress:
        late = Door(egress, door.listener)
        with pytest.raises(EgressError, match="cannot start"):
            await late.open()
        way.touch()
        await late.open()
        assert (await late.get("http://example.com/")).startswith(b"HTTP/1.1 200 ")


def test_it_dies_with_a_worker_that_is_killed() -> None:
    worker = subprocess.Popen([sys.executable, "-c", WORKER], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    child = int(worker.stdout.readline())
    watched = os.pidfd_open(child)
    worker.kill()
    worker.wait()
    assert select.select([watched], [], [], 10)[0], "it outlived its worker"
    worker.stdout.close()
    os.close(watched)


WORKER = """
import anyio, os, socket
from cloister.egress.process import EgressProcess
from cloister.model.network import NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.protocols import Listeners

async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    policy = NetworkPolicy(mode=NetworkMode.OFF, phase=Phase.AGENT, environment="web")
    async with EgressProcess() as egress:
        await egress.open("t-1", Listeners((os.dup(listener.fileno()),)), policy, print)
        print(egress.pid, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


async def test_one_that_shall_not_be_early_starts_with_the_first_sandbox(door: Door, world: World) -> None:
    async with EgressProcess(command_prefix=world.command_prefix, early=False) as egress:
        await egress.close(SandboxName("unknown"))
        await anyio.wait_all_tasks_blocked()
        assert egress.pid is None
        await Door(egress, door.listener).open()
        assert egress.pid is not None
