"""Programs in a real sandbox that know nothing of the proxy: what the policy lets through works, and nothing else does.

The egress process runs in a world where every address is local and the origins answer at all of them.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.network import EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.sandboxes.oci.image import OciImageStore

from ...system.egress.conftest import PUBLIC, PUBLIC_6, authority, namespace, origins, own_authority, servers, world
from ...system.egress.origin import Authority, Origin
from ...system.egress.world import World
from ..cells import Cell, opened_block

__all__ = ["authority", "namespace", "origins", "own_authority", "servers", "world"]

OFF = NetworkPolicy(mode=NetworkMode.OFF, phase=Phase.AGENT, environment="web")
LIMITED = NetworkPolicy(
    mode=NetworkMode.LIMITED, phase=Phase.AGENT, environment="web", allow=("example.com",), ports=(80, 443, 8080)
)
FULL = NetworkPolicy(mode=NetworkMode.FULL, phase=Phase.AGENT, environment="web")


@pytest.fixture
async def cell(tmp_path: Path, images: OciImageStore, world: World) -> AsyncIterator[Cell]:
    async with opened_block(tmp_path, images, prefix=f"c{secrets.token_hex(4)}", runtime="auto") as block:
        yield await block.cell()


class Programs:
    """A sandbox whose programs are asked to try things, under a policy."""

    def __init__(self, cell: Cell, world: World, authority: Authority) -> None:
        self._cell, self._world, self._authority = cell, world, authority
        self.records: list[EgressRecord] = []

    async def attempt(self, *attempts: tuple[object, ...]) -> list[str]:
        files = {"attempts.json": json.dumps(attempts), "authority.pem": self._authority.pem}
        printed = await self._cell.probe("catching.py", "/cloister/in/attempts.json", files=files)
        assert printed.exit.status == 0, printed.stderr
        answers: list[str] = json.loads(printed.stdout)
        return answers

    @asynccontextmanager
    async def under(self, policy: NetworkPolicy) -> AsyncIterator[None]:
        settings = EgressSettings(request_seconds=3.0, authorities=self._authority.pem)
        async with EgressProcess(settings, command_prefix=self._world.command_prefix) as egress:
            sandbox = self._cell.sandbox
            await egress.open(sandbox.name, sandbox.listeners(), policy, self._hear)
            yield
            await egress.close(sandbox.name)

    def _hear(self, told: EgressRecord | EgressEnd) -> None:
        if isinstance(told, EgressRecord):
            self.records.append(told)

    def refusals(self) -> list[str]:
        return [record.decision.rule for record in self.records if not record.decision.allowed]


@pytest.fixture
def programs(cell: Cell, world: World, authority: Authority) -> Programs:
    return Programs(cell, world, authority)


ALLOWED = [
    (("tls", "example.com", 443, "example.com"), "HTTP/1.1 200 OK"),
    (("tls", PUBLIC, 443, "example.com"), "HTTP/1.1 200 OK"),
    (("tls", PUBLIC_6, 443, "www.example.com"), "HTTP/1.1 200 OK"),
    (("curl", "https://example.com/"), "hello"),
    (("curl", "-6", "https://example.com/"), "hello"),
    (("curl", "http://example.com/"), "hello"),
    (("curl", "http://www.example.com/", "http://example.com/"), "hellohello"),
    (("urllib_get", "https://example.com/"), "hello"),
    (("urllib_get", "http://example.com/"), "hello"),
    (("raw", "example.com", 8080, "EHLO me\r\n\r\n"), "EHLO me\r\n\r\n"),
]


async def test_what_the_policy_allows_works_without_a_proxy(programs: Programs, origins: dict[str, Origin]) -> None:
    async with programs.under(LIMITED):
        answers = await programs.attempt(*(what for what, _ in ALLOWED))
    assert answers == [says for _, says in ALLOWED]
    assert {record.decision.rule for record in programs.records} == {"allow: example.com"}
