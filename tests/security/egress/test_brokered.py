"""S10: a real sandbox uses a secret that is nowhere in it."""

import json
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.network import EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.secret import Grant, SecretValue
from cloister.sandboxes.oci.image import OciImageStore

from ...system.egress.conftest import authority, namespace, origins, servers, world
from ...system.egress.origin import Authority, Origin
from ...system.egress.world import World
from ...system.test_table import PROBE
from ..cells import ENVIRONMENT, Cell, Printed, opened_block

__all__ = ["authority", "namespace", "origins", "servers", "world"]

VALUE = "cnry_" + secrets.token_hex(16)
MARK = "cloister-placeholder-" + secrets.token_hex(16)
PORT = 8001
GRANT = Grant(
    name="MODEL",
    value=SecretValue(VALUE),
    placeholder=MARK,
    hosts=("example.com",),
    format="Bearer {}",
    door=PORT,
    upstream="https://example.com:8443/v1",
)
USE = f"""
for _ in 1 2 3; do
    curl -sSi http://127.0.0.1:{PORT}/echo -H "Authorization: Bearer $MODEL" -d x | tee -a /root/answer >&2
done
curl -sSi http://localhost:{PORT}/echo -d "$MODEL" >&2
"""
SEARCH = """
cd /cloister/in
python3 -c 'import json, table; print(json.dumps(table.canaries()))' /
"""


def answer_with_all(stream: socket.socket, request: bytes) -> None:
    """Send everything back, in a header too."""
    key = next((line for line in request.split(b"\r\n") if line.lower().startswith(b"authorization")), b"x: none")
    head = b"HTTP/1.1 200 OK\r\nX-Echo: %s\r\nContent-Length: %d\r\n\r\n" % (key.partition(b": ")[2], len(request))
    stream.sendall(head + request)


@pytest.fixture
def api(namespace: World, authority: Authority) -> Iterator[Origin]:
    with namespace.listener("0.0.0.0", 8443) as listener:
        yield Origin(listener, answer_with_all, authority.server_context).start()


@pytest.fixture
async def cell(tmp_path: Path, images: OciImageStore) -> AsyncIterator[Cell]:
    async with opened_block(tmp_path, images, prefix=f"b{secrets.token_hex(4)}", runtime="auto") as block:
        yield await block.cell()


async def run(cell: Cell, script: str, variable: str) -> tuple[Printed, dict[str, list[str]]]:
    """Run a script that at its end searches its whole sandbox for a secret."""
    files = {"table.py": PROBE.read_text()}
    variables = {**ENVIRONMENT, "MODEL": variable}
    printed = await cell.run("/bin/bash", "-c", script, files=files, variables=variables, timeout_seconds=120.0)
    return printed, json.loads(printed.stdout)


async def test_a_sandbox_uses_a_secret_that_is_nowhere_in_it(
    cell: Cell, world: World, authority: Authority, api: Origin
) -> None:
    told: list[EgressRecord | EgressEnd] = []
    policy = NetworkPolicy(mode=NetworkMode.OFF, phase=Phase.AGENT, environment="web")
    settings = EgressSettings(authorities=authority.pem)
    async with EgressProcess(settings, command_prefix=world.command_prefix) as egress:
        await egress.open(cell.sandbox.name, cell.sandbox.listeners((PORT,)), policy, told.append, [GRANT])
        printed, found = await run(cell, USE + SEARCH, MARK)
        await egress.close(cell.sandbox.name)
    assert found == {}
    assert [f"Bearer {VALUE}".encode() in request for request in api.received[:3]] == [True] * 3
    assert printed.stderr.count("X-Echo: Bearer [secret MODEL]") == 3
    assert VALUE not in printed.stderr + printed.stdout
    assert "an attempt to leak the secret MODEL" in printed.stderr
    leaks = [record for record in told if isinstance(record, EgressRecord) and "leak" in record.decision.rule]
    assert len(leaks) == 1
    assert not any(MARK.encode() in request for request in api.received)


async def test_the_same_search_finds_a_secret_that_is_there(cell: Cell) -> None:
    """The twin: with the value itself in the variable."""
    _, found = await run(cell, SEARCH, VALUE)
    assert any(place.endswith("/environ") for place in found)
    assert any(place.endswith("/mem") for place in found)
