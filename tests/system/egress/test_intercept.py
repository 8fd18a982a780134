"""HTTPS that is read: with the real process, a real TLS client that trusts the installation, and real origins."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSStream

from cloister.egress.authority import Authority as ProxyAuthority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.network import Audit, NetworkMode

from .door import Door, client_hello, read_to_end
from .origin import Authority, Origin, answer_https, make_authority
from .world import World

READ = ("GET", "HEAD", "OPTIONS")


def get(
    path: str = "/", *, method: str = "GET", host: str = "example.com", headers: str = "Connection: close"
) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n\r\n".encode()


def said_to(origin: Origin) -> list[bytes]:
    """The requests that arrived; a connection may be made without one."""
    return [request for request in origin.received if request]


class Client:
    """A TLS client in a tunnel, which trusts the proxy's authority, or another one."""

    def __init__(self, door: Door, trusted: str) -> None:
        self._door = door
        self._trusted = trusted

    @asynccontextmanager
    async def tunnel(self, authority: str = "example.com:443") -> AsyncIterator[TLSStream]:
        context = ssl.create_default_context(cadata=self._trusted)
        name = authority.partition(":")[0]
        async with self._door.tunnel(authority) as tunnel:
            yield await TLSStream.wrap(tunnel, hostname=name, ssl_context=context)

    async def ask(self, request: bytes, authority: str = "example.com:443") -> bytes:
        """Send a request in a tunnel of its own, and return all that comes back."""
        async with self.tunnel(authority) as stream:
            await stream.send(request)
            return await read_to_end(stream)


@pytest.fixture
def client(door: Door, own_authority: ProxyAuthority) -> Client:
    return Client(door, own_authority.certificate)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE", "TRACE", "get"])
async def test_a_method_that_is_not_listed_is_refused(
    door: Door, client: Client, origins: dict[str, Origin], method: str
) -> None:
    await door.open(methods=READ)
    answer = await client.ask(get("/secret?token=1", method=method))
    assert answer.startswith(b"HTTP/1.1 403 ") and method.encode() in answer
    assert said_to(origins["tls"]) == []
    refused = door.records[-1]
    assert (refused.method, refused.path, refused.decision.allowed) == (method, "/secret", False)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_with_a_full_audit_alone_every_method_is_carried(
    door: Door, client: Client, origins: dict[str, Origin], method: str
) -> None:
    await door.open(audit=Audit.FULL)
    assert (await client.ask(get(method=method))).startswith(b"HTTP/1.1 200 ")
    assert origins["tls"].received[0].startswith(method.encode() + b" / HTTP/1.1\r\nHost: example.com\r\n")


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_header_that_overrides_the_method_is_limited_too(door: Door, client: Client, header: str) -> None:
    await door.open(methods=READ)
    answer = await client.ask(get(headers=f"{header}: DELETE\r\nConnection: close"))
    assert b"DELETE is not in network.methods" in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(host="other.org"),
        get("http://other.org/"),
        b"CONNECT other.org:443 HTTP/1.1\r\nHost: other.org:443\r\n\r\n",
        get(headers="Host: other.org"),
        get(headers="Content-Length: 1\r\nTransfer-Encoding: chunked"),
        get(headers="Connection: Upgrade\r\nUpgrade: websocket"),
        get(headers="X: a\r\n folded"),
        get(host="example.com:80"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_could_be_read_in_two_ways_or_is_for_another_is_malformed(
    door: Door, client: Client, origins: dict[str, Origin], request_bytes: bytes
) -> None:
    await door.open(methods=READ)
    assert (await client.ask(request_bytes)).startswith(b"HTTP/1.1 400 ")
    assert said_to(origins["tls"]) == []


async def test_every_request_of_a_kept_alive_connection_is_judged(
    door: Door, client: Client, origins: dict[str, Origin]
) -> None:
    await door.open(methods=READ)
    async with client.tunnel() as stream:
        for _ in range(10):
            await stream.send(get(headers="X: y"))
            answer = await stream.receive()
            while b"hello" not in answer:
                answer += await stream.receive()
        await stream.send(get(method="DELETE"))
        assert b"403" in (await read_to_end(stream))[:20]
    assert len(origins["tls"].reached) == 1, "ten requests, one connection upstream"
    assert [record.method for record in door.records] == ["CONNECT", *["GET"] * 10, "DELETE"]


async def test_the_end_tells_how_much_was_carried(door: Door, client: Client, origins: dict[str, Origin]) -> None:
    await door.open(audit=Audit.FULL)
    await client.ask(get(method="POST", headers="Content-Length: 4\r\nConnection: close") + b"body")
    with anyio.fail_after(10):
        while len(door.ends) < 2:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    request = next(end for end in door.ends if end.flow == door.records[1].flow)
    assert request.sent_bytes > 4
    assert request.received_bytes > 5


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n", b"GET / HTTP/1.1\r\n\r\n", client_hello("other.org")])
async def test_nothing_but_tls_for_the_host_goes_through_a_tunnel_that_is_read(
    door: Door, origins: dict[str, Origin], data: bytes
) -> None:
    await door.open(methods=READ)
    async with door.tunnel("example.com:443") as tunnel:
        await tunnel.send(data)
        assert (await tunnel.receive())[:1] == b"\x15"
    assert said_to(origins["tls"]) == []


async def test_a_port_that_the_policy_names_is_read_too(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(methods=READ, ports=(8080,))
    with pytest.raises(ValueError, match=r"example\.com:8080 did not agree on TLS"):
        async with door.tunnel("example.com:8080"):
            pass


async def test_a_client_that_does_not_trust_us_gets_nothing(door: Door, authority: Authority) -> None:
    await door.open(methods=READ)
    with pytest.raises((ssl.SSLError, anyio.BrokenResourceError)):
        await Client(door, authority.pem).ask(get())
    with anyio.fail_after(10):
        while len(door.records) < 2:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert "the client broke off TLS" in door.records[-1].decision.rule


async def test_what_need_not_be_read_is_not(door: Door, client: Client, authority: Authority) -> None:
    await door.open()
    with pytest.raises((ssl.SSLError, anyio.BrokenResourceError)):
        await client.ask(get())
    async with Client(door, authority.pem).tunnel() as stream:
        await stream.send(get())
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")


async def test_an_opaque_tunnel_is_cut_when_it_has_to_be_read(door: Door, authority: Authority) -> None:
    await door.open()
    async with Client(door, authority.pem).tunnel() as stream:
        await door.open(methods=READ)
        with pytest.raises((anyio.BrokenResourceError, anyio.EndOfStream, ssl.SSLError)):
            await stream.send(get())
            await stream.receive()


async def test_streams_pass_at_once(door: Door, client: Client, origins: dict[str, Origin]) -> None:
    await door.open(audit=Audit.FULL)
    async with client.tunnel() as stream:
        await stream.send(get("/endless"))
        received = 0
        with anyio.fail_after(20):
            while received < 5_000_000:
                received += len(await stream.receive())


@pytest.mark.parametrize(("path", "status"), [("/odd", b"502"), ("/hang-up", b"502"), ("/silent", b"504")])
async def test_an_upstream_that_fails_is_told(door: Door, client: Client, path: str, status: bytes) -> None:
    await door.open(audit=Audit.FULL)
    assert (await client.ask(get(path)))[9:12] == status


async def test_a_body_that_breaks_off_is_no_whole_one(door: Door, client: Client) -> None:
    await door.open(audit=Audit.FULL)
    with pytest.raises((ssl.SSLError, ConnectionResetError, anyio.BrokenResourceError)):
        await client.ask(get("/half"))


@pytest.mark.parametrize(
    ("names", "valid_days", "vouched_for", "reason"),
    [
        (["example.com"], 1, False, "self-signed certificate"),
        (["example.com"], 0, True, "certificate has expired"),
        (["other.org"], 1, True, "Hostname mismatch"),
        (["example.com"], 1, True, None),
    ],
    ids=["self-signed", "expired", "of another name", "valid"],
)
async def test_a_server_that_cannot_prove_who_it_is_gets_nothing(
    world: World,
    settings: EgressSettings,
    own_authority: ProxyAuthority,
    door: Door,
    tmp_path: Path,
    names: list[str],
    valid_days: int,
    vouched_for: bool,
    reason: str | None,
) -> None:
    made = make_authority(tmp_path, names, valid_days=valid_days)
    settings = replace(settings, authorities=made.pem if vouched_for else settings.authorities)
    async with EgressProcess(settings, command_prefix=world.command_prefix) as door.egress:
        await door.open(audit=Audit.FULL, ports=(8443,))
        client = Client(door, own_authority.certificate)
        with Origin(world.listener("0.0.0.0", 8443), answer_https, made.server_context) as server:
            try:
                answer = await client.ask(get(host="example.com:8443"), "example.com:8443")
            except ValueError as error:
                answer = str(error).encode()
    if reason is None:
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert len(said_to(server)) == 1
    else:
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert f"example.com:8443 failed in TLS: its certificate is not valid for it ({reason}".encode() in answer
        assert said_to(server) == []


async def test_an_address_needs_a_certificate_too(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(NetworkMode.FULL, audit=Audit.FULL)
    with pytest.raises(ValueError, match=r"(?s)502.*93\.184\.215\.14:443 failed in TLS: its certificate is not valid"):
        async with door.tunnel("93.184.215.14:443"):
            pass
    assert said_to(origins["tls"]) == []


async def test_the_key_is_the_owners_alone(own_authority: ProxyAuthority, egress: EgressProcess, door: Door) -> None:
    await door.open(methods=READ)
    assert repr(own_authority) == "Authority(...)"
    assert own_authority.key not in Path(f"/proc/{egress.pid}/environ").read_text()
    assert own_authority.key not in Path(f"/proc/{egress.pid}/cmdline").read_text()
