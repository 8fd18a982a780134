"""The promises S5 to S8 vector by vector, asked from inside a real sandbox; and the same questions to a proxy that
checks nothing, which shows that each would have arrived.

The egress process runs in a world where every address is local and the origins answer at all of them.
"""

import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloister.egress.authority import Authority as ProxyAuthority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.container import CA_BUNDLE
from cloister.model.network import Audit, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.sandboxes.oci.image import OciImageStore

from ...system.egress.conftest import PUBLIC, authority, namespace, origins, own_authority, servers, world
from ...system.egress.origin import Authority, Origin
from ...system.egress.world import World
from ..cells import ENVIRONMENT, Cell, opened_block

__all__ = ["authority", "namespace", "origins", "own_authority", "servers", "world"]

HERE = Path(__file__).parent
DOCUMENT = json.loads((HERE / "vectors.json").read_text())
VECTORS: list[dict[str, Any]] = DOCUMENT["vectors"]
LET_THROUGH = ("200", "302", "tls", "data")
NOTHING = ("closed", "silent", "reset")


@pytest.fixture
async def cell(
    tmp_path: Path, images: OciImageStore, world: World, own_authority: ProxyAuthority
) -> AsyncIterator[Cell]:
    world.zone.update(DOCUMENT["zone"])
    prefix, trusted = f"v{secrets.token_hex(4)}", own_authority.certificate
    async with opened_block(tmp_path, images, prefix=prefix, runtime="auto", authority=trusted) as block:
        yield await block.cell()


async def ask(cell: Cell, vectors: list[dict[str, Any]], authority: Authority) -> dict[str, str]:
    """Return what came back of each vector, by its id."""
    given = {"vectors.json": json.dumps(vectors), "authority.pem": authority.pem}
    variables = {**ENVIRONMENT, "SSL_CERT_FILE": CA_BUNDLE}
    printed = await cell.probe(
        "egress.py", "/cloister/in/vectors.json", files=given, variables=variables, timeout_seconds=300.0
    )
    assert printed.exit.status == 0, printed.stderr
    answers: dict[str, str] = json.loads(printed.stdout)
    return answers


def policy(name: str) -> NetworkPolicy:
    fields = dict(DOCUMENT["policies"][name])
    mode = NetworkMode(fields.pop("mode"))
    audit = Audit(fields.pop("audit", "decisions"))
    lists = {key: tuple(value) for key, value in fields.items()}
    return NetworkPolicy(mode=mode, phase=Phase.AGENT, environment="web", audit=audit, **lists)


def of_policy(name: str) -> list[dict[str, Any]]:
    return [vector for vector in VECTORS if vector["policy"] == name]


@pytest.mark.parametrize("name", DOCUMENT["policies"])
async def test_every_vector_is_answered_as_promised(
    cell: Cell,
    world: World,
    origins: dict[str, Origin],
    authority: Authority,
    own_authority: ProxyAuthority,
    name: str,
) -> None:
    vectors = of_policy(name)
    settings = EgressSettings(request_seconds=2.0, authority=own_authority, authorities=authority.pem)
    async with EgressProcess(settings, command_prefix=world.command_prefix) as egress:
        await egress.open(cell.sandbox.name, cell.sandbox.listeners(), policy(name), lambda _: None)
        answers = await ask(cell, vectors, authority)
        await egress.close(cell.sandbox.name)
    wrong = {
        vector["id"]: f"{vector['why']}: {answers[vector['id']]} in place of {vector['says']}"
        for vector in vectors
        if answers[vector["id"]] != vector["says"]
    }
    assert wrong == {}
    spoken = sum(origin.spoken_to for origin in origins.values())
    allowed = sum(vector["says"] in LET_THROUGH for vector in vectors)
    begun = sum(vector.get("partly", 0) for vector in vectors)  # such as the first of two requests
    perhaps = sum(vector.get("perhaps", 0) for vector in vectors)  # one that is cut while it is sent on
    assert allowed + begun <= spoken <= allowed + begun + perhaps
    heard = [vector.get("heard", vector["says"] == "200") for vector in vectors if "https" in vector]
    assert len([request for request in origins["tls"].received if request]) == sum(heard)


@contextmanager
def trusting_proxy(cell: Cell, world: World) -> Iterator[None]:
    listeners = cell.sandbox.listeners().proxy
    process = subprocess.Popen(
        [*world.command_prefix, sys.executable, str(HERE / "trusting_proxy.py"), *map(str, listeners)],
        pass_fds=listeners,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


class EveryName(dict[str, list[str]]):
    """A zone in which every name exists."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> list[str]:
        return [PUBLIC]


def expected_of_twin(vector: dict[str, Any]) -> tuple[str, ...]:
    """What a proxy without checks may bring back; which kind of nothing comes is a matter of time."""
    twin = vector.get("twin")
    return LET_THROUGH if twin is None else NOTHING if twin in NOTHING else (twin,)


async def test_without_the_checks_the_vectors_arrive(
    cell: Cell, world: World, origins: dict[str, Origin], authority: Authority
) -> None:
    world.zone = EveryName(world.zone)
    refused = [vector for vector in VECTORS if vector["says"] not in LET_THROUGH]
    left = refused
    for _ in range(3):  # on a busy machine a look-up may take longer than this world's resolver waits
        with trusting_proxy(cell, world):
            answers = await ask(cell, left, authority)
        left = [vector for vector in left if answers[vector["id"]] not in expected_of_twin(vector)]
    assert [f"{vector['id']} {vector['why']}: {answers[vector['id']]}" for vector in left] == []
    assert sum("twin" not in vector for vector in refused) > 0.75 * len(refused), "few probes are without a twin"
