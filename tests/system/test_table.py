"""The table of phases, row by row, in a real sandbox: network, variables and secrets, each where it may be and not."""

import hashlib
import json
import os
import secrets
import shlex
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.network import NetworkMode
from cloister.model.sandbox import SandboxName
from cloister.model.secret import SecretValue
from cloister.model.task import Verdict
from cloister.sandboxes.oci.image import OciImageStore

from .conftest import made_installation
from .egress.origin import Origin, answer_by_path, answer_with_echo, make_authority
from .egress.world import World, made_world
from .installation import Finished, Running
from .leftovers import Leftovers, find_leftovers, processes_of
from .project import Project

PROBE = Path(__file__).with_name("probes") / "table.py"
PUBLIC, PUBLIC_6 = "93.184.215.14", "2606:2800:21f::1"
TOKEN = "cnry_" + secrets.token_hex(16)
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
NONE = hashlib.sha256(b"").hexdigest()

ENVIRONMENT = """
name = "table"
[variables]
COLOUR = "green"
[secrets]
TOKEN = { mode = "setup" }
[setup]
automatic = false
script = '''
setsid nohup sleep 600 >/dev/null 2>&1 &
cat >/tmp/of-setup <<< "$TOKEN"
cat >/dev/shm/of-setup <<< "$TOKEN"
python3 probe.py /tmp /dev/shm /root /workspace
'''
[network]
setup = "full"
allow = ["example.com"]
"""


class WatchedEgress(EgressProcess):
    """Looks at what runs in a sandbox when its network is closed for good: that is where output begins."""

    def __init__(self, world: World) -> None:
        nobody = 65533
        super().__init__(EgressSettings(), uid=nobody, gid=nobody, command_prefix=world.command_prefix)
        self.running: dict[SandboxName, list[list[str]]] = {}

    async def close(self, name: SandboxName) -> None:
        await super().close(name)
        self.running.setdefault(name, []).append(processes_of(name))


@dataclass(frozen=True)
class Seen:
    """A task, and what the probe saw in each phase that it ran in."""

    finished: Finished
    setup: dict[str, Any] | None
    agent: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """The tasks that were run, one after another, in one installation."""

    cold: Seen
    """The agent's network is off; the agent searches the whole disk."""
    limited: Seen
    full: Seen
    daemon: Finished
    running_at_close: list[list[str]]
    """What ran in the sandbox of `daemon` whenever its network was closed for good."""
    left: Leftovers
    origins: dict[str, Origin]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, Origin]]]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace of its own needs root")
    names = ["example.com", "other.org"]
    with made_world(f"cloister-table-{os.getpid()}") as world:
        world.zone.update({name: [PUBLIC, PUBLIC_6] for name in names})
        authority = make_authority(tmp_path_factory.mktemp("authority"), names)
        origins = {
            "http": Origin(world.listener("0.0.0.0", 80), answer_by_path),
            "tls": Origin(world.listener("0.0.0.0", 443), answer_with_echo, authority.server_context),
        }
        for origin in origins.values():
            origin.start()
        yield world, origins


@pytest.fixture(scope="module")
async def table(
    world: tuple[World, dict[str, Origin]], images: OciImageStore, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Table]:
    place = tmp_path_factory.mktemp("table")
    project = Project.create(place / "project", {"probe.py": PROBE.read_text()})
    with made_installation(place, project) as installation:
        async with WatchedEgress(world[0]) as egress, installation.opened(egress=egress) as running:
            cold = await _run(running, "python3 probe.py /")
            limited = await _run(running, "python3 probe.py", internet=NetworkMode.LIMITED)
            full = await _run(running, "python3 probe.py", internet=NetworkMode.FULL)
            daemon = await _finish(running, "python3 -c " + shlex.quote(DAEMON), internet=NetworkMode.FULL)
            closed = egress.running[SandboxName(daemon.status.attempts[0].attempt)]
            yield Table(cold, limited, full, daemon, closed, find_leftovers(installation), world[1])


async def _run(running: Running, command: str, **request: Any) -> Seen:
    finished = await _finish(running, command, **request)
    in_setup = finished.printed("setup")
    return Seen(finished, json.loads(in_setup) if in_setup else None, json.loads(finished.printed("agent")))


async def _finish(running: Running, command: str, **request: Any) -> Finished:
    secret = {"TOKEN": SecretValue(TOKEN)}
    finished = await running.run(command, environment=ENVIRONMENT, secrets=secret, **request)
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
    return finished


async def test_the_agent_reaches_nothing(table: Table) -> None:
    seen = table.cold.agent
    stand_in, stand_in_6 = seen["direct"].pop("name")
    assert seen["direct"] == {
        "tcp": "HTTP/1.1 403 Forbidden",
        "tcp6": "HTTP/1.1 403 Forbidden",
        "udp": "PermissionError: Operation not permitted",
        "udp6": "PermissionError: Operation not permitted",
        "icmp": "PermissionError: Operation not permitted",
        "ping": "PermissionError: Permission denied",
        "packet": "OSError: Function not implemented",
        "vsock": "OSError: Function not implemented",
        "resolver": "",
    }
    assert stand_in.startswith("198.1") and stand_in_6.startswith("fd63:6c6f:"), "nobody was asked"
    assert seen["interfaces"] == ["all", "default", "lo"]


async def test_the_proxy_refuses_the_agent_with_a_sentence(table: Table) -> None:
    seen = table.cold.agent
    assert seen["http"].startswith("HTTP/1.1 403 Forbidden\r\n")
    assert "agent internet is off" in seen["http"]
    assert "--internet limited --allow example.com" in seen["http"]
    assert seen["https"].startswith("HTTP/1.1 403 Forbidden\r\n")
    refused = [event for event in table.cold.finished.events if event["event"] == "egress_refused"]
    hosts = {event["host"] for event in refused if event["phase"] == "agent"}
    assert hosts == {"example.com", "other.org", "169.254.169.254"}


async def test_the_agent_meets_no_secret(table: Table) -> None:
    seen = table.cold.agent
    assert (seen["phase"], seen["variable"], seen["token"]) == ("agent", "green", NONE)
    assert seen["canaries"] == {}
    assert len(seen["processes"]) <= 2, "the daemon of setup is dead"
    assert TOKEN not in json.dumps(table.cold.finished.events)


async def test_setup_has_network_variables_and_secrets(table: Table) -> None:
    """The twin of the three above: the same probe finds all that it looks for."""
    seen = table.cold.setup
    assert seen is not None
    assert seen["http"].endswith("\r\n\r\nhello")
    assert seen["other"].endswith("\r\n\r\nhello")
    assert seen["https"].startswith("GET / HTTP/1.1")
    assert set(table.origins["http"].reached) == {PUBLIC}
    assert seen["metadata"].startswith("HTTP/1.1 403 "), "private addresses are refused in every mode"
    assert seen["direct"]["tcp"] == seen["direct"]["tcp6"] == "HTTP/1.1 200 OK"
    assert seen["direct"]["udp"].startswith("PermissionError"), "the proxy is the only way out in every mode"
    assert (seen["phase"], seen["variable"], seen["token"]) == ("setup", "green", DIGEST)
    assert all(set(found) == {DIGEST} for found in seen["canaries"].values())
    places = set(seen["canaries"])
    assert {"/tmp/of-setup", "/dev/shm/of-setup", "/proc/1/environ"} <= places
    assert any(place.endswith("/mem") for place in places)
    assert len(seen["processes"]) > 2, "the daemon lives"


async def test_secrets_come_and_go_with_the_setup_script(table: Table) -> None:
    names = table.cold.finished.names()
    order = [name for name in names if name in ("secret_delivered", "secret_removed", "snapshot_saved")]
    assert order == ["secret_delivered", "secret_removed", "snapshot_saved"]
    events = table.cold.finished.events
    assert [(e["phase"], e["network"], e["secrets"]) for e in events if e["event"] == "phase_started"] == [
        ("provision", "off", []),
        ("setup", "full", ["TOKEN"]),
        ("agent", "off", []),
        ("output", "off", []),
        ("teardown", "off", []),
    ]


async def test_a_limited_agent_reaches_what_is_allowed(table: Table) -> None:
    seen = table.limited.agent
    assert seen["http"].endswith("\r\n\r\nhello")
    assert seen["https"].startswith("GET / HTTP/1.1")
    assert "other.org is not in network.allow" in seen["other"]
    assert seen["direct"]["tcp"] == "HTTP/1.1 200 OK", "the policy is the same without the proxy's address"
    assert seen["direct"]["udp"].startswith("PermissionError")
    assert seen["canaries"] == {}


async def test_an_agent_with_the_full_internet_reaches_no_private_address(table: Table) -> None:
    seen = table.full.agent
    assert seen["other"].endswith("\r\n\r\nhello")
    assert seen["metadata"].startswith("HTTP/1.1 403 ")
    assert seen["direct"]["tcp"] == "HTTP/1.1 200 OK", "the policy is the same without the proxy's address"
    assert seen["direct"]["udp"].startswith("PermissionError")
    assert seen["canaries"] == {}


async def test_a_warm_start_delivers_no_secret(table: Table) -> None:
    names = table.limited.finished.names()
    assert "snapshot_hit" in names
    assert "secret_delivered" not in names
    assert table.limited.setup is None


DAEMON = """
import os, socket, time
tunnel = socket.create_connection(("127.0.0.1", 3128))
tunnel.sendall(b"CONNECT example.com:443 HTTP/1.1\\r\\nHost: example.com:443\\r\\n\\r\\n")
print(tunnel.recv(100).decode().split()[1], flush=True)
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
"""


async def test_nothing_runs_when_output_begins(table: Table) -> None:
    assert table.daemon.printed("agent") == "200\n", "it had a connection, and left a daemon that holds it"
    assert table.running_at_close == [[], []], "at the start of output, and at teardown"


async def test_teardown_leaves_nothing(table: Table) -> None:
    """What is left is the open installation's own: processes, its place among the workers and on tmpfs."""
    assert table.left.kinds() <= {"processes", "directories", "namespaces"}
    assert sorted(Path(place).suffix for place in table.left.directories) == ["", ".lock"]
    assert len(table.left.processes) <= 4


async def test_the_world_is_reached_without_a_sandbox(world: tuple[World, dict[str, Origin]]) -> None:
    """The twin of what is unreachable: the same connection from inside the world, with no sandbox around."""
    place, origins = world
    with place.connect(PUBLIC, 80) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert origins["http"].reached[-1] == PUBLIC
