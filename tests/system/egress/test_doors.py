"""Doors: what comes in by plain HTTP goes to one upstream over verified TLS, with the secret that the sandbox lacks."""

import gzip
import socket
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote

import anyio
import pytest

from cloister.egress.process import EgressProcess
from cloister.model.network import EgressRecord
from cloister.model.secret import Grant, SecretValue

from .door import read_to_end
from .doored import Doored, until
from .origin import Authority, Origin, make_authority
from .world import World

VALUE = "sk-0123456789/abc+def"
TOKEN = "sk-9876543210"
MARK = "cloister-placeholder-00112233445566778899aabbccddeeff"
GO_ON = threading.Event()


def _answer(stream: socket.socket, request: bytes) -> None:
    head, _, body = request.partition(b"\r\n\r\n")
    path = head.split(b" ")[1].partition(b"?")[0].removeprefix(b"/openai")
    match path:
        case b"/v1/echo":
            sent = head + b"\r\n\r\n" + body
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Echo: %s\r\n\r\n" % (len(sent), _key(head)))
            half = sent.find(VALUE.encode()) + 5
            stream.sendall(sent[:half])
            stream.sendall(sent[half:])
        case b"/v1/encoded":
            sent = b"b64 " + b64encode(b"me:" + VALUE.encode()) + b" json " + VALUE.replace("/", "\\/").encode()
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(sent), sent))
        case b"/v1/odd":
            stream.sendall(request)
        case b"/v1/odd-header":
            stream.sendall(b"HTTP/1.1 200 OK\r\n%s : 1\r\n\r\n" % VALUE.encode())
        case b"/v1/name":
            stream.sendall(b"HTTP/1.1 200 %s\r\n%s: 1\r\nContent-Length: 0\r\n\r\n" % (TOKEN.encode(), TOKEN.encode()))
        case b"/v1/gzip":
            packed = gzip.compress(VALUE.encode())
            stream.sendall(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
            )
        case b"/v1/brotli":
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nxyz")
        case b"/v1/redirect":
            stream.sendall(b"HTTP/1.1 302 Found\r\nLocation: https://other.org/v1\r\nContent-Length: 0\r\n\r\n")
        case b"/v1/events":
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
            GO_ON.wait(20)
            stream.sendall(b"data: two\n\n")
        case _:
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def _key(head: bytes) -> bytes:
    keys = [line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"authorization:")]
    return b", ".join(keys)


@pytest.fixture(scope="module")
def api(namespace: World, authority: Authority) -> Iterator[Origin]:
    with Origin(namespace.listener("0.0.0.0", 8443), _answer, authority.server_context) as api:
        yield api


@dataclass
class Sandbox(Doored):
    """With what its door is for."""

    def grant(self) -> Grant:
        return Grant(
            name="OPENAI",
            value=SecretValue(VALUE),
            placeholder=MARK,
            hosts=("example.com",),
            header="Authorization",
            format="Bearer {}",
            door=self.port,
            upstream="https://example.com:8443/openai",
        )


@pytest.fixture
async def sandbox(egress: EgressProcess, api: Origin) -> AsyncIterator[Sandbox]:
    api.clear()
    GO_ON.clear()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as proxy,
        socket.create_server(("127.0.0.1", 0), backlog=100) as door,
    ):
        yield Sandbox(egress, proxy, door)
        GO_ON.set()


# Refusals


async def test_a_door_without_a_grant_leads_nowhere(sandbox: Sandbox, api: Origin) -> None:
    await sandbox.open()
    answer = await sandbox.ask("/v1/echo")
    assert answer.startswith("HTTP/1.1 403 ")
    assert "nothing is behind port" in answer
    assert api.received == []


@pytest.mark.parametrize("value", [None, "a newer value"])
async def test_a_grant_that_ends_or_changes_cuts_what_it_let_out(
    sandbox: Sandbox, api: Origin, value: str | None
) -> None:
    await sandbox.open(sandbox.grant())
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        await stream.send(f"GET /v1/events HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\n\r\n".encode())
        assert b"one" in await until(stream, b"one")
        await sandbox.open(*([] if value is None else [replace(sandbox.grant(), value=SecretValue(value))]))
        with pytest.raises(ConnectionResetError):
            await read_to_end(stream)
    assert (await sandbox.ask("/v1/echo")).startswith("HTTP/1.1 403 " if value is None else "HTTP/1.1 200 ")


async def test_a_grant_that_stays_cuts_nothing(sandbox: Sandbox, api: Origin) -> None:
    await sandbox.open(sandbox.grant())
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        await stream.send(f"GET /v1/events HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\n\r\n".encode())
        await until(stream, b"one")
        await sandbox.open(sandbox.grant())
        GO_ON.set()
        await until(stream, b"two")


@pytest.mark.parametrize(
    "path", ["/../admin", "/v1/%2e%2e/%2e%2e/admin", "/..%2fadmin", "/..;/admin", "//other.org/", "/v1/..\\..\\admin"]
)
async def test_a_path_cannot_climb_out_of_the_upstreams(sandbox: Sandbox, api: Origin, path: str) -> None:
    await sandbox.open(sandbox.grant())
    assert (await sandbox.ask(path)).startswith("HTTP/1.1 403 ")
    assert api.received == []


@pytest.mark.parametrize(("path", "method"), [("/v1/other", "POST"), ("/v1/echo", "GET"), ("/v1/echo", "TRACE")])
async def test_a_door_is_for_its_methods_and_paths_alone(sandbox: Sandbox, api: Origin, path: str, method: str) -> None:
    await sandbox.open(replace(sandbox.grant(), methods=("POST",), paths=("/openai/v1/echo",)))
    assert (await sandbox.ask(path, method=method)).startswith("HTTP/1.1 403 ")
    assert api.received == []
    assert (await sandbox.ask("/v1/echo", method="POST", body="x")).startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize("host", ["evil.example", "example.com", "127.0.0.1", "127.0.0.2:{port}"])
async def test_a_page_that_rebinds_its_name_cannot_use_a_door(sandbox: Sandbox, api: Origin, host: str) -> None:
    await sandbox.open(sandbox.grant())
    assert (await sandbox.ask("/v1/echo", host=host.format(port=sandbox.port))).startswith("HTTP/1.1 400 ")
    assert api.received == []
    assert (await sandbox.ask("/v1/echo", host=f"localhost:{sandbox.port}")).startswith("HTTP/1.1 200 ")


async def test_an_upstream_that_is_not_who_it_should_be_gets_nothing(
    sandbox: Sandbox, namespace: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = make_authority(tmp_path_factory.mktemp("stranger"), ["example.com"])
    with Origin(namespace.listener("0.0.0.0", 9443), _answer, stranger.server_context) as impostor:
        await sandbox.open(replace(sandbox.grant(), upstream="https://example.com:9443"))
        answer = await sandbox.ask("/v1/echo")
        assert answer.startswith("HTTP/1.1 502 ")
        assert "certificate is not valid" in answer
        assert impostor.received == []


async def test_a_certificate_for_another_name_is_none(sandbox: Sandbox, world: World, api: Origin) -> None:
    world.zone["unnamed.example.com"] = world.zone["example.com"]
    await sandbox.open(replace(sandbox.grant(), upstream="https://unnamed.example.com:8443"))
    assert (await sandbox.ask("/v1/echo")).startswith("HTTP/1.1 502 ")
    assert api.received == []


async def test_an_upstream_without_tls_gets_nothing(sandbox: Sandbox, origins: dict[str, Origin]) -> None:
    await sandbox.open(replace(sandbox.grant(), upstream="https://example.com:80"))
    assert "example.com:80 did not agree on TLS" in await sandbox.ask("/v1/echo")
    assert not any(VALUE.encode() in request for request in origins["http"].received)


async def test_a_private_upstream_is_refused_as_everywhere(sandbox: Sandbox, world: World, api: Origin) -> None:
    world.zone["example.com"] = ["10.1.2.3"]
    await sandbox.open(sandbox.grant())
    assert (await sandbox.ask("/v1/echo")).startswith("HTTP/1.1 403 ")
    assert api.received == []


@pytest.mark.parametrize(
    ("headers", "body", "where"),
    [
        (f"X-Other: {MARK}\r\n", "", "the header x-other"),
        ("", f"look: {MARK}", "the body"),
        ("", f"look: {b64encode(MARK.encode()).decode()}", "the body"),
    ],
)
async def test_a_placeholder_beside_its_place_is_refused_and_told(
    sandbox: Sandbox, api: Origin, headers: str, body: str, where: str
) -> None:
    await sandbox.open(sandbox.grant())
    answer = await sandbox.ask("/v1/echo", method="POST", headers=headers, body=body)
    assert answer.startswith("HTTP/1.1 403 ")
    assert "an attempt to leak the secret OPENAI" in sandbox.refusals()[-1]
    assert where in sandbox.refusals()[-1].lower()
    assert not any(MARK.encode() in request for request in api.received)


async def test_a_compressed_answer_that_holds_the_value_is_made_plain_and_masked(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant())
    answer = await sandbox.ask("/v1/gzip")
    assert answer.startswith("HTTP/1.1 200 ")
    assert answer.endswith("\r\n\r\n[secret OPENAI]")
    assert VALUE not in answer


async def test_an_answer_that_cannot_be_made_plain_could_hold_the_value_and_is_refused(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant())
    answer = await sandbox.ask("/v1/brotli")
    assert answer.startswith("HTTP/1.1 502 ")
    assert "compressed" in answer


@pytest.mark.parametrize("path", ["/v1/odd", "/v1/odd-header", "/v1/name"])
async def test_a_value_that_is_no_part_of_an_answer_is_not_quoted(sandbox: Sandbox, api: Origin, path: str) -> None:
    for grant in (
        replace(sandbox.grant(), query="key"),
        replace(sandbox.grant(), query="key", value=SecretValue(TOKEN)),
    ):
        await sandbox.open(grant)
        answer = await sandbox.ask(path)
        assert quote(grant.value.reveal(), safe="").encode() in api.received[-1]
        assert grant.value.reveal() not in answer
        assert quote(grant.value.reveal(), safe="") not in answer


async def test_a_placeholder_in_two_pieces_of_a_body_is_refused(sandbox: Sandbox, api: Origin) -> None:
    await sandbox.open(sandbox.grant())
    head = f"POST /v1/echo HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        await stream.send(head.encode())
        for piece in ("a" * 70_000, MARK[:30], MARK[30:], "b", ""):
            await stream.send(f"{len(piece):x}\r\n{piece}\r\n".encode())
            await anyio.sleep(0.05)
        assert b" 403 " in await read_to_end(stream)
    assert not any(MARK[25:].encode() in request for request in api.received)


async def test_a_large_body_goes_up_as_it_is(sandbox: Sandbox, api: Origin) -> None:
    await sandbox.open(sandbox.grant())
    body = (MARK[:-1] + "!") * 10_000
    assert (await sandbox.ask("/v1/x", method="POST", body=body)).startswith("HTTP/1.1 200 ")
    assert api.received[-1].endswith(b"\r\n\r\n" + body.encode())


async def test_the_policy_stays_what_it_is_for_everything_else(sandbox: Sandbox, api: Origin) -> None:
    await sandbox.open(sandbox.grant())
    async with await anyio.connect_tcp(*sandbox.proxy.getsockname()) as stream:
        await stream.send(b"CONNECT example.com:8443 HTTP/1.1\r\nHost: example.com:8443\r\n\r\n")
        assert b" 403 " in await read_to_end(stream)
    assert api.received == []


# What a door does


@pytest.mark.parametrize("header", ["", f"Authorization: Bearer {MARK}\r\n", "authorization: Bearer none\r\n"])
async def test_the_upstream_gets_the_value_and_the_sandbox_does_not(sandbox: Sandbox, api: Origin, header: str) -> None:
    await sandbox.open(sandbox.grant())
    answer = await sandbox.ask("/v1/echo?q=1", method="POST", headers=header, body='{"a": 1}')
    (received,) = api.received
    assert received.startswith(b"POST /openai/v1/echo?q=1 HTTP/1.1\r\nHost: example.com:8443\r\n")
    assert _key(received) == f"Bearer {VALUE}".encode()
    assert received.endswith(b'\r\n\r\n{"a": 1}')
    head, _, body = answer.partition("\r\n\r\n")
    assert answer.startswith("HTTP/1.1 200 ")
    assert "X-Echo: Bearer [secret OPENAI]" in head
    assert "Authorization: Bearer [secret OPENAI]" in body
    assert VALUE not in answer
    (record,) = [record for record in sandbox.records if isinstance(record, EgressRecord)]
    assert (record.decision.allowed, record.decision.rule) == (True, f"door {sandbox.port}: OPENAI")
    assert VALUE not in repr(sandbox.records)


async def test_the_twin_an_answer_that_was_not_masked_would_show_it(sandbox: Sandbox, api: Origin) -> None:
    """The same echo of what is no secret comes back as it was sent."""
    await sandbox.open(replace(sandbox.grant(), value=SecretValue("another value")))
    answer = await sandbox.ask("/v1/echo", headers=f"X-Probe: {VALUE}\r\n")
    assert f"x-probe: {VALUE}" in answer.lower().replace(VALUE.lower(), VALUE)


async def test_encoded_values_are_masked_too(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant())
    answer = await sandbox.ask("/v1/encoded")
    assert answer.count("[secret OPENAI]") == 2


async def test_events_arrive_one_by_one(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant())
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        await stream.send(f"GET /v1/events HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\n\r\n".encode())
        assert b"two" not in await until(stream, b"data: one")
        GO_ON.set()
        await until(stream, b"data: two")


async def test_a_redirect_is_not_followed(sandbox: Sandbox, origins: dict[str, Origin]) -> None:
    await sandbox.open(sandbox.grant())
    answer = await sandbox.ask("/v1/redirect")
    assert answer.startswith("HTTP/1.1 302 ")
    assert origins["tls"].received == []


async def test_a_connection_is_kept_alive(sandbox: Sandbox, api: Origin) -> None:
    await sandbox.open(sandbox.grant())
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        for _ in range(2):
            await stream.send(f"GET /v1/x HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\n\r\n".encode())
            await until(stream, b"ok")
    assert len(api.received) == 2
