"""S10: in a whole task, a brokered secret is only ever a placeholder in the sandbox; where it goes, the vault says."""

import hashlib
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cloister.egress.authority import load_authority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.broker import PLACEHOLDER, placeholder_of
from cloister.model.secret import SecretValue
from cloister.model.task import Verdict
from cloister.sandboxes.oci.image import OciImageStore

from .conftest import made_installation
from .egress.origin import Origin, answer_by_path, make_authority
from .egress.world import World, made_world
from .installation import Finished, Installation
from .project import Project
from .test_table import PROBE, PUBLIC

TOKEN = "cnry_" + secrets.token_hex(16)
WIDENED = '[secrets]\nTOKEN = { mode = "brokered", hosts = ["evil.example.com"] }\n'

ENVIRONMENT = """
name = "brokered"
[secrets]
TOKEN = { mode = "brokered", hosts = ["example.com"], header = "Authorization", format = "Bearer {}" }
[setup]
automatic = false
script = "python3 probe.py /"
[network]
setup = "full"
agent = "limited"
allow = ["example.com"]
"""
LEAK = """
curl -sS https://example.com/v1 -H "Authorization: Bearer $TOKEN" -o /root/answer
curl -sS https://example.com/plain >/dev/null
cat /root/answer >&2
python3 probe.py /
curl -sS http://example.com/ -H "Authorization: Bearer $TOKEN" >&2
curl -sS http://example.com/ >&2
echo "$TOKEN" >&2
"""


@dataclass(frozen=True)
class Place:
    """A world, its authority, and its origins."""

    world: World
    pem: str
    plain: Origin
    tls: Origin


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace of its own needs root")
    with made_world(f"cloister-brokered-{os.getpid()}") as world:
        world.zone["example.com"] = [PUBLIC]
        vouching = make_authority(tmp_path_factory.mktemp("authority"), ["example.com"])
        plain = Origin(world.listener("0.0.0.0", 80), answer_by_path).start()
        tls = Origin(world.listener("0.0.0.0", 443), _answer_with_request, vouching.server_context).start()
        yield Place(world, vouching.pem, plain, tls)


def _answer_with_request(stream: socket.socket, request: bytes) -> None:
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(request), request))


@dataclass(frozen=True)
class Ran:
    """A task, and what was sent to the origins."""

    finished: Finished
    plain: list[bytes]
    tls: list[bytes]

    def seen(self, phase: str) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.finished.printed(phase))
        return report


@pytest.fixture(scope="module")
async def ran(place: Place, images: OciImageStore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ran]:
    directory = tmp_path_factory.mktemp("brokered")
    project = Project.create(directory / "project", {"probe.py": PROBE.read_text()})
    with made_installation(directory, project) as installation:
        nobody = 65533
        settings = EgressSettings(authority=load_authority(installation.state), authorities=place.pem)
        prefix = place.world.command_prefix
        async with (
            EgressProcess(settings, uid=nobody, gid=nobody, command_prefix=prefix) as egress,
            installation.opened(egress=egress) as running,
        ):
            given = {"TOKEN": SecretValue(TOKEN)}
            finished = await running.run(LEAK, environment=ENVIRONMENT, secrets=given)
            assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
            yield Ran(finished, place.plain.received, place.tls.received)


async def test_a_pull_request_cannot_send_a_secret_elsewhere(installation: Installation) -> None:
    repository = str(installation.project.path)
    rule = ("--brokered", "--host", "example.com", "--header", "Authorization")
    assert installation.cloister("secret", "set", repository, "TOKEN", *rule, stdin=TOKEN).code == 0
    installation.project.commit({".cloister/environment.toml": WIDENED.replace("evil.", "")})
    assert installation.cloister("run", "--detach", "--command", "true", "narrower").code == 0, (
        "the twin: it may narrow"
    )
    installation.project.commit({".cloister/environment.toml": WIDENED.replace("evil.example.com", "evil.example")})
    done = installation.cloister("run", "--command", "true", "wider")
    assert done.code == 2
    assert "TOKEN with the host evil.example, which the vault does not allow" in done.stderr


@pytest.mark.parametrize("phase", ["setup", "agent"])
async def test_a_sandbox_has_a_placeholder_and_no_value(ran: Ran, phase: str) -> None:
    """`test_table` has the twin: the same probe finds a setup secret in every one of these places."""
    attempt = ran.finished.status.attempts[0].attempt
    expected = placeholder_of("TOKEN", attempt)
    assert ran.seen(phase)["token"] == hashlib.sha256(expected.encode()).hexdigest()
    assert ran.seen(phase)["canaries"] == {}


async def test_the_log_says_who_has_it_and_shows_nothing(ran: Ran) -> None:
    started = [event for event in ran.finished.events if event["event"] == "phase_started"]
    assert [(it["phase"], it["secrets"], it["brokered"]) for it in started] == [
        ("provision", [], []),
        ("setup", [], ["TOKEN"]),
        ("agent", [], ["TOKEN"]),
        ("output", [], []),
        ("teardown", [], []),
    ]
    assert "secret_delivered" not in ran.finished.names()
    assert TOKEN not in json.dumps(ran.finished.events)


async def test_the_host_it_is_for_gets_the_value_from_curl(ran: Ran) -> None:
    asked = [request for request in ran.tls if b"/v1 " in request or b"/plain " in request]
    assert [request.count(f"Authorization: Bearer {TOKEN}\r\n".encode()) for request in asked] == [1, 1]
    printed = "".join(event["text"] for event in ran.finished.events if event["event"] == "output")
    assert "Authorization: Bearer [secret TOKEN]" in printed


async def test_a_placeholder_by_plain_http_is_refused_and_told(ran: Ran) -> None:
    (refused,) = [
        event
        for event in ran.finished.events
        if event["event"] == "egress_refused" and "an attempt to leak the secret TOKEN" in event["rule"]
    ]
    assert (refused["host"], refused["phase"]) == ("example.com", "agent")
    assert "the header Authorization" in refused["rule"]
    assert ran.plain, "the twin: without the placeholder the same request arrives"
    assert not any(TOKEN.encode() in request or PLACEHOLDER.encode() in request for request in ran.plain)
