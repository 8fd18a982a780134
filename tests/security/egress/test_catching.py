"""Programs in a real sandbox that know nothing of the proxy: what the policy lets through works, and nothing else does.

The egress process runs in a world where every address is local and the origins answer at all of them.
"""

import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.network import EgressEnd, EgressRecord, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.sandboxes.oci import catch
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.network import find_catching_error, listen_again
from cloister.sandboxes.oci.paths import paths_of

from ...system.egress.conftest import PUBLIC, PUBLIC_6, authority, namespace, origins, own_authority, servers, world
from ...system.egress.origin import Authority, Origin
from ...system.egress.world import World
from ..cells import PROBES, Block, Cell, opened_block

__all__ = ["authority", "namespace", "origins", "own_authority", "servers", "world"]

OFF = NetworkPolicy(mode=NetworkMode.OFF, phase=Phase.AGENT, environment="web")
LIMITED = NetworkPolicy(
    mode=NetworkMode.LIMITED, phase=Phase.AGENT, environment="web", allow=("example.com",), ports=(80, 443, 8080)
)
FULL = NetworkPolicy(mode=NetworkMode.FULL, phase=Phase.AGENT, environment="web")


@pytest.fixture
async def block(tmp_path: Path, images: OciImageStore) -> AsyncIterator[Block]:
    async with opened_block(tmp_path, images, prefix=f"c{secrets.token_hex(4)}", runtime="auto") as block:
        yield block


@pytest.fixture
async def cell(block: Block, world: World) -> Cell:
    return await block.cell()


class Programs:
    """A sandbox whose programs are asked to try things, under a policy."""

    def __init__(self, cell: Cell, world: World, authority: Authority) -> None:
        self._cell, self._world, self._authority = cell, world, authority
        self.name = cell.sandbox.name
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
    (("node", "https://example.com/"), "200 hello"),
    (("raw", "example.com", 8080, "EHLO me\r\n\r\n"), "EHLO me\r\n\r\n"),
]


async def test_what_the_policy_allows_works_without_a_proxy(programs: Programs, origins: dict[str, Origin]) -> None:
    async with programs.under(LIMITED):
        answers = await programs.attempt(*(what for what, _ in ALLOWED))
    assert answers == [says for _, says in ALLOWED]
    assert {record.decision.rule for record in programs.records} == {"allow: example.com"}


def greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"SSH-2.0-x\r\n")


async def test_a_server_that_speaks_first_is_reached(programs: Programs, world: World) -> None:
    with world.listener("0.0.0.0", 2222) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        async with programs.under(replace(LIMITED, ports=(2222,))):
            answers = await programs.attempt(("silent", "example.com", 2222))
    assert answers == ["SSH-2.0-x\r\n"]


def differing(expected: list[tuple[tuple[object, ...], str]], answers: list[str]) -> list[str]:
    """Return what was not answered as expected."""
    together = zip(expected, answers, strict=True)
    return [f"{what}: {answer} in place of {says}" for (what, says), answer in together if says not in answer]


REFUSED: list[tuple[tuple[object, ...], str, str]] = [
    (("tls", "other.org", 443, "other.org"), "ACCESS_DENIED", "other.org is not in network.allow"),
    (("tls", "example.com", 443, "other.org"), "ACCESS_DENIED", "other.org is not in network.allow"),
    (("tls", "example.com", 443, None), "ACCESS_DENIED", "this tunnel carries TLS for example.com only: it has no"),
    (("tls", PUBLIC, 443, None), "ACCESS_DENIED", "limited internet allows names, not addresses"),
    (("raw", "example.com", 443, "SSH-2.0-x\r\n"), "\x15\x03", "this tunnel carries TLS for example.com only: it is"),
    (("curl", "http://other.org/"), "Cloister refused GET other.org:80", "other.org is not in network.allow"),
    (("curl", "-H", "Host: other.org", "http://example.com/"), "GET other.org:80", "other.org is not in"),
    (("urllib_get", "http://other.org/"), "403 Cloister refused GET other.org:80", "other.org is not in"),
    (("urllib_get", f"http://{PUBLIC}/"), "403 Cloister refused GET", "limited internet allows names, not addresses"),
    (("raw", "example.com", 25, "EHLO me\r\n"), "ConnectionResetError", "port 25 is not in network.ports"),
    (("raw", "other.org", 8080, "EHLO me\r\n"), "ConnectionResetError", "other.org is not in network.allow"),
    (("raw", PUBLIC_6, 8080, "EHLO me\r\n"), "ConnectionResetError", "limited internet allows names, not addresses"),
    (("raw", "198.18.0.9", 8080, "EHLO me\r\n"), "ConnectionResetError", "limited internet allows names, not"),
    (("raw", "169.254.169.254", 80, "GET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 403", "limited internet allows names, not"),
]


async def test_what_the_policy_refuses_is_said_and_reported(programs: Programs, origins: dict[str, Origin]) -> None:
    async with programs.under(LIMITED):
        answers = await programs.attempt(*(what for what, _, _ in REFUSED))
    assert differing([(what, says) for what, says, _ in REFUSED], answers) == []
    for (what, _, rule), refusal in zip(REFUSED, programs.refusals(), strict=True):
        assert refusal.startswith(rule), what
    assert all(record.decision.hint for record in programs.records if "network." in record.decision.rule)
    assert sum(origin.spoken_to for origin in origins.values()) == 0


async def test_when_internet_is_off_nothing_is_reached(
    programs: Programs, world: World, origins: dict[str, Origin]
) -> None:
    async with programs.under(OFF):
        answers = await programs.attempt(
            ("curl", "http://example.com/"),
            ("curl", "https://example.com/"),
            ("raw", PUBLIC, 22, "hello"),
        )
    assert "403" in answers[0] or "agent internet is off" in answers[0]
    assert "alert" in answers[1]
    assert answers[2].startswith("ConnectionResetError")
    assert programs.refusals() == ["agent internet is off"] * 3
    assert world.lookups == []
    assert sum(origin.spoken_to for origin in origins.values()) == 0


async def test_full_internet_reaches_addresses_but_none_that_is_private(
    programs: Programs, origins: dict[str, Origin]
) -> None:
    async with programs.under(FULL):
        answers = await programs.attempt(
            ("curl", f"http://{PUBLIC}/"),
            ("tls", PUBLIC, 443, None),
            ("tls", "other.org", 443, "other.org"),
            ("curl", "http://169.254.169.254/latest/meta-data/"),
            ("curl", "http://10.1.2.3/"),
            ("raw", "198.18.0.9", 443, "hello"),
        )
    assert answers[:3] == ["hello", "HTTP/1.1 200 OK", "HTTP/1.1 200 OK"]
    assert all("Cloister refused GET" in answer for answer in answers[3:5])
    assert len(programs.refusals()) == 3


OWN = [("127.0.0.1", 80), ("127.0.0.1", 443), ("127.9.9.9", 443), ("0.0.0.0", 443), ("0.0.0.0", 8443), ("::1", 8080)]


async def test_a_projects_own_servers_are_left_alone(programs: Programs) -> None:
    async with programs.under(OFF):
        answers = await programs.attempt(*(("server", address, port) for address, port in [*OWN, ("::", 443)]))
    assert answers == ["mine"] * (len(OWN) + 1)
    assert programs.records == []


async def test_names_are_answered_here_and_asked_nowhere(programs: Programs, world: World) -> None:
    names = [f"{secrets.token_hex(20)}.tunnel.example" for _ in range(20)]
    async with programs.under(OFF):
        answers = await programs.attempt(*(("resolve", name) for name in names), ("resolve", names[0]))
        local = await programs.attempt(("resolve", "x.localhost"), ("resolve", "bad_name.example"))
        elsewhere = await programs.attempt(("datagram", "8.8.8.8", 53, "no question"), ("datagram", PUBLIC_6, 53, "no"))
    assert all(answer.startswith("198.1") and " fd63:6c6f:" in answer for answer in answers)
    assert len(set(answers)) == len(names)
    assert answers[0] == answers[-1]
    assert local[0] == "127.0.0.1 ::1"
    assert local[1].startswith("gaierror")
    assert all(answer.startswith("TimeoutError") for answer in elsewhere)
    assert world.lookups == []
    assert programs.records == []


QUESTION = "\0\x1f\1\1\1\0\0\1\0\0\0\0\0\0\5hello\7example\0\0\1\0\1"
"""The address of hello.example, asked over TCP (RFC 1035, 4.2.2)."""


async def test_names_are_answered_over_tcp_too(programs: Programs, world: World) -> None:
    async with programs.under(OFF):
        near, far = await programs.attempt(("raw", "127.0.0.1", 53, QUESTION), ("raw", "8.8.8.8", 53, QUESTION))
    assert near.startswith("\0\x2f\1\1"), "an answer as long as the question and one address"
    assert near[-4:-2] in ("\xc6\x12", "\xc6\x13"), "it only stands for the name: 198.18.0.0/15"
    assert far == near, "whichever name server is asked"
    assert world.lookups == []


NOWHERE = [
    (("datagram", PUBLIC, 443, "QUIC"), "PermissionError"),
    (("datagram", PUBLIC_6, 123, "NTP"), "PermissionError"),
    (("ping", PUBLIC), "PermissionError"),
    (("raw_socket", "AF_INET", "SOCK_RAW"), "PermissionError"),
    (("raw_socket", "AF_PACKET", "SOCK_RAW"), "Function not implemented"),
    (("route", 24), "errno 1"),
    (("route", 25), "errno 1"),
    (("rules",), "errno 1"),
]


async def test_nothing_else_leaves_and_nothing_can_be_changed(programs: Programs, origins: dict[str, Origin]) -> None:
    async with programs.under(FULL):
        answers = await programs.attempt(*(what for what, _ in NOWHERE), ("curl", "http://example.com/"))
    assert differing(NOWHERE, answers[:-1]) == []
    assert answers[-1] == "hello", "the rules are still there"
    assert sum(origin.spoken_to for origin in origins.values()) == 1


async def test_who_is_root_outside_can_do_it_and_then_nothing_is_caught(
    programs: Programs, tmp_path: Path, origins: dict[str, Origin]
) -> None:
    attempts = tmp_path / "attempts.json"
    asked = [("raw_socket", "AF_INET", "SOCK_RAW"), ("raw_socket", "AF_PACKET", "SOCK_RAW"), ("rules",)]
    attempts.write_text(json.dumps([*asked, ("datagram", PUBLIC, 443, "QUIC"), ("route", 25)]))
    place = paths_of(tmp_path / "state").sandbox(programs.name) / "netns"
    enter = ("nsenter", f"--net={place}", sys.executable, str(PROBES / "catching.py"), str(attempts))
    async with programs.under(LIMITED):
        done = await anyio.run_process(enter)
        answers = await programs.attempt(*(what for what, _ in ALLOWED))
    expected = ["made", "made", "errno 0", "ConnectionRefusedError [Errno 111] Connection refused", "errno 0"]
    assert json.loads(done.stdout) == expected
    assert [answer for answer in answers if "hello" in answer or "200" in answer] == []
    assert programs.records == []


async def test_where_the_host_cannot_catch_the_proxy_works_all_the_same(
    block: Block, world: World, authority: Authority, origins: dict[str, Origin], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch, "_LIBRARY", "libnftables-that-is-not-there.so.1")
    assert find_catching_error() == "libnftables-that-is-not-there.so.1 is not installed"
    programs = Programs(await block.cell(), world, authority)
    async with programs.under(LIMITED):
        answers = await programs.attempt(
            ("raw", PUBLIC, 80, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
            ("resolve", "example.com"),
            ("raw", "127.0.0.1", 3128, "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n"),
        )
    assert answers[0] == "OSError [Errno 101] Network is unreachable"
    assert answers[1].startswith("gaierror")
    assert answers[2].startswith("HTTP/1.1 200 OK")


async def test_a_worker_that_comes_back_catches_in_the_sandboxes_that_it_finds(cell: Cell, tmp_path: Path) -> None:
    before = cell.sandbox.listeners()
    cell.sandbox.close_listeners()
    for descriptor in before.descriptors():
        os.close(descriptor)
    again = listen_again(paths_of(tmp_path / "state").sandbox(cell.sandbox.name) / "netns")
    again.close()
    assert (len(again.proxy), len(again.transparent), len(again.names)) == (2, 2, 4)


def test_a_kernel_that_takes_no_such_rule_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without nat is not to be had here; at the forward hook every kernel refuses to redirect."""
    assert find_catching_error() == ""
    monkeypatch.setattr(catch, "_RULES", catch._RULES.replace("nat hook output", "nat hook forward"))
    assert find_catching_error() == "Error: Could not process rule: Operation not supported"
