"""Requests by the programs that people use, in a real sandbox, under each policy, with a proxy set and without.

The twin of each refusal is its neighbour in the table: the same program, the same request, a policy that allows it.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloister.egress.authority import Authority as ProxyAuthority
from cloister.egress.authority import load_authority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.container import container_variables
from cloister.model.environment import Limits
from cloister.model.network import EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.sandboxes.oci.image import OciImageStore

from ...system.egress.origin import Authority, Origin, make_authority
from ...system.egress.repository import Answers, make_repository
from ...system.egress.world import World, made_world
from ..cells import PROBES, Cell, opened_block

PUBLIC = "93.184.215.14"
GET, POST, OTHER = "GET https://example.com/", "POST https://example.com/", "GET https://other.org/"


def policy(mode: NetworkMode, **changes: object) -> NetworkPolicy:
    """A policy of the agent phase."""
    return NetworkPolicy(mode=mode, phase=Phase.AGENT, environment="web", **changes)  # type: ignore[arg-type]


POLICIES = {
    "off": (policy(NetworkMode.OFF), ()),
    "limited": (policy(NetworkMode.LIMITED, allow=("example.com",)), (GET, POST)),
    "limited to GET": (policy(NetworkMode.LIMITED, allow=("example.com",), methods=("GET",)), (GET,)),
    "full, every request told": (policy(NetworkMode.FULL, audit="full"), (GET, POST, OTHER)),
    "full": (policy(NetworkMode.FULL), (GET, POST, OTHER)),
}
"""Each with what it allows of the three requests."""

CURL = """
for asked; do
    set -- $asked
    echo "$asked -> $(curl -sS -X "$1" -w " %{http_code}" "$2" 2>&1 | tr "\\n" " ")"
done
"""
GIT = """
for asked; do
    set -- $asked
    rm -rf /tmp/clone
    echo "$asked -> $(git clone --quiet "$2git" /tmp/clone 2>&1 && cat /tmp/clone/file)"
done
"""
GO = """
for asked; do
    set -- $asked
    echo "$asked -> $(echo 200 | ffuf -s -mc 200 -X "$1" -u "$2?FUZZ" -w - 2>&1 | tr "\\n" " ")"
done
"""
PROGRAMS = {
    "curl": ("/bin/bash", "-c", CURL, "curl"),
    "urllib": ("/usr/bin/python3", "/cloister/in/fetch.py", "urllib"),
    "requests": ("/usr/bin/python3", "/cloister/in/fetch.py", "requests"),
    "node": ("/usr/bin/node", "/cloister/in/fetch.js"),
    "java": ("/opt/java/bin/java", "-cp", "/opt/java", "Fetch", "connection"),
    "java.net.http": ("/opt/java/bin/java", "-cp", "/opt/java", "Fetch", "client"),
    "go": ("/bin/bash", "-c", GO, "go"),
    "git": ("/bin/bash", "-c", GIT, "git"),
}


@dataclass
class Place:
    """A world where an origin answers at every address, a sandbox, and what the proxy reported."""

    world: World
    cell: Cell
    settings: EgressSettings
    origin: Origin
    records: list[EgressRecord] = field(default_factory=list)

    @asynccontextmanager
    async def under(self, policy: NetworkPolicy) -> AsyncIterator[None]:
        """Serve the sandbox under this policy."""
        self.records.clear()
        self.origin.clear()
        async with EgressProcess(self.settings, command_prefix=self.world.command_prefix) as egress:
            sandbox = self.cell.sandbox
            await egress.open(sandbox.name, sandbox.listeners(), policy, self._hear)
            yield
            await egress.close(sandbox.name)

    def _hear(self, told: EgressRecord | EgressEnd) -> None:
        if isinstance(told, EgressRecord):
            self.records.append(told)


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Java runtime, with the probe's class beside it."""
    if shutil.which("jlink") is None:
        pytest.skip("no Java development kit on this machine: ./dev test installs one")
    runtime = tmp_path_factory.mktemp("java") / "java"
    subprocess.run(["jlink", "--add-modules", "java.net.http,jdk.crypto.ec", "--output", str(runtime)], check=True)
    subprocess.run(["javac", "--release", "17", "-d", str(runtime), str(PROBES / "Fetch.java")], check=True)
    return runtime


@pytest.fixture(scope="module")
def go() -> Path:
    """A client in Go, with its language's own TLS, look-up of names and dialler."""
    found = shutil.which("ffuf")
    if found is None:
        pytest.skip("no ffuf on this machine: ./dev test installs it")
    return Path(found)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace of its own needs root")
    with made_world(f"cloister-test-{os.getpid()}-{secrets.token_hex(4)}") as world:
        world.zone.update({"example.com": [PUBLIC], "other.org": [PUBLIC]})
        yield world


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Vouches for the origin."""
    return make_authority(tmp_path_factory.mktemp("authority"), ["example.com", "other.org"])


@pytest.fixture(scope="module")
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> ProxyAuthority:
    """The installation's, which reads HTTPS."""
    return load_authority(tmp_path_factory.mktemp("installation"))


@pytest.fixture(scope="module")
async def place(
    world: World,
    authority: Authority,
    own_authority: ProxyAuthority,
    java: Path,
    go: Path,
    images: OciImageStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    make_repository(folder, "200 cloned\n")
    origin = Origin(world.listener("0.0.0.0", 443), Answers(folder), authority.server_context).start()
    trusted = own_authority.certificate + authority.pem
    async with opened_block(folder, images, prefix=f"p{secrets.token_hex(4)}", authority=trusted) as block:
        block.limits = Limits(memory_bytes=1024**3, pids=256)
        cell = await block.cell()
        shutil.copy(go, cell.sandbox.root / "usr/bin/ffuf")
        shutil.copytree(java, cell.sandbox.root / "opt/java", symlinks=True)
        yield Place(world, cell, EgressSettings(authority=own_authority, authorities=authority.pem), origin)


@pytest.mark.parametrize("proxied", [True, False], ids=["with a proxy set", "with none"])
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("program", PROGRAMS)
async def test_a_program_gets_what_the_policy_allows(
    place: Place, new_task, program: str, name: str, proxied: bool
) -> None:
    policy, allowed = POLICIES[name]
    asked = [request for request in (GET, POST, OTHER) if program != "git" or request != POST]
    variables = dict(container_variables(new_task(), Phase.AGENT))
    if not proxied:
        variables = {key: value for key, value in variables.items() if not key.lower().endswith("_proxy")}
        options = variables["JAVA_TOOL_OPTIONS"].split()
        variables["JAVA_TOOL_OPTIONS"] = " ".join(option for option in options if "proxy" not in option)
    files = {file: (PROBES / file).read_text() for file in ("fetch.py", "fetch.js")}
    async with place.under(policy):
        printed = await place.cell.run(*PROGRAMS[program], *asked, files=files, variables=variables)
    answers = dict(line.split(" -> ", 1) for line in printed.stdout.splitlines())
    assert list(answers) == asked, printed
    reached = [request for request, answer in answers.items() if "200" in answer.split()]
    assert reached == [request for request in asked if request in allowed], answers
    refused = [record for record in place.records if not record.decision.allowed]
    assert bool(refused) == (reached != asked)
    if program != "go":  # ffuf asks once more when it is cut off
        assert len(refused) == len(asked) - len(reached), "each refusal is told, once"
