"""Tunnels through the real process: the server name, back-pressure, half-close, and what is cut."""

from pathlib import Path

import anyio
import pytest
from anyio.streams.tls import TLSStream

from cloister.model.network import NetworkMode

from .door import Door, client_hello, read_to_end
from .origin import Authority, Origin
from .world import World

ACCESS_DENIED = b"\x15\x03\x01\x00\x02\x02\x31"


async def test_tls_for_the_tunnels_host_passes(door: Door, origins: dict[str, Origin], authority: Authority) -> None:
    await door.open()
    async with door.tunnel("example.com:443") as tunnel:
        tls = await TLSStream.wrap(
            tunnel, hostname="example.com", ssl_context=authority.client_context, standard_compatible=False
        )
        await tls.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await tls.receive() == b"GET / HTTP/1.1\r\n\r\n"
        await tls.aclose()
    assert [record.decision.rule for record in door.records] == ["allow: example.com"]


async def test_a_client_hello_in_pieces_passes(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    hello = client_hello("example.com")
    async with door.tunnel("example.com:443") as tunnel:
        for byte in hello:
            await tunnel.send(bytes((byte,)))
        assert (await tunnel.receive())[:1] == b"\x16"


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (client_hello("other.org"), "it names the server 'other.org'"),
        (client_hello("www.example.com"), "it names the server 'www.example.com'"),
        (client_hello(None), "it has no server name"),
        (b"GET / HTTP/1.1\r\nHost: other.org\r\n\r\n", "it is not TLS"),
        (b"SSH-2.0-OpenSSH\r\n", "it is not TLS"),
        (b"\x80\x2e\x01\x00\x02", "it is not TLS"),
        (b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", "it does not begin with a ClientHello"),
        (b"\x17\x03\x03\x00\x05hello", "it is not TLS"),
    ],
    ids=["other name", "sub-domain", "no name", "plain HTTP", "ssh", "SSLv2", "another message", "another record"],
)
async def test_anything_else_gets_an_alert_and_reaches_nobody(
    door: Door, origins: dict[str, Origin], first: bytes, reason: str
) -> None:
    await door.open(NetworkMode.FULL)
    async with door.tunnel("example.com:443") as tunnel:
        await tunnel.send(first)
        assert await read_to_end(tunnel) == ACCESS_DENIED
    assert door.refusals() == [f"this tunnel carries TLS for example.com only: {reason}"]
    assert origins["tls"].received in ([], [b""])


async def test_without_the_proxy_the_other_name_arrives(
    world: World, origins: dict[str, Origin], authority: Authority
) -> None:
    with (
        world.connect("93.184.215.14", 443) as straight,
        authority.client_context.wrap_socket(straight, server_hostname="other.org") as tls,
    ):
        tls.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert tls.recv(100)


async def test_a_client_that_says_nothing_is_given_up(door: Door) -> None:
    await door.open()
    async with door.tunnel("example.com:443") as tunnel:
        assert await read_to_end(tunnel) == ACCESS_DENIED
    assert door.refusals() == ["no ClientHello came within 2 s"]


async def test_an_address_needs_no_server_name(door: Door, world: World, origins: dict[str, Origin]) -> None:
    await door.open(NetworkMode.FULL)
    async with door.tunnel("93.184.215.14:443") as tunnel:
        await tunnel.send(client_hello(None))
        assert (await tunnel.receive())[:1] == b"\x16"


async def test_a_tunnel_to_port_80_is_read_request_by_request(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(methods=("GET",))
    async with door.tunnel("example.com:80") as tunnel:
        await tunnel.send(b"GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
        assert (await tunnel.receive()).startswith(b"HTTP/1.1 200 ")
        await tunnel.send(b"POST /a HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n")
        assert b"POST is not in network.methods" in await read_to_end(tunnel)
    assert len(origins["http"].received) == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /a HTTP/1.1\r\nHost: other.org\r\n\r\n",
        b"GET http://other.org/ HTTP/1.1\r\nHost: other.org\r\n\r\n",
        b"CONNECT other.org:443 HTTP/1.1\r\nHost: other.org:443\r\n\r\n",
        client_hello("example.com") + b"\r\n\r\n",
    ],
    ids=["another Host", "absolute form", "CONNECT", "TLS"],
)
async def test_a_tunnel_to_port_80_carries_its_own_host_only(
    door: Door, origins: dict[str, Origin], request_: bytes
) -> None:
    await door.open(NetworkMode.FULL)
    async with door.tunnel("example.com:80") as tunnel:
        await tunnel.send(request_)
        assert (await read_to_end(tunnel)).startswith(b"HTTP/1.1 400 ")
    assert origins["http"].received == []


async def test_another_port_that_is_named_carries_any_protocol(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(ports=(8080,))
    async with door.tunnel("example.com:8080") as tunnel:
        await tunnel.send(b"HELO x\r\n\r\n")
        await tunnel.send(b"y" * 1000)
        await tunnel.send_eof()
        assert await read_to_end(tunnel) == b"HELO x\r\n\r\n" + b"y" * 1000


async def test_tls_on_another_port_must_be_for_the_tunnels_host(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(ports=(8080,))
    async with door.tunnel("example.com:8080") as tunnel:
        await tunnel.send(client_hello("other.org"))
        assert await read_to_end(tunnel) == ACCESS_DENIED
    assert door.refusals() == ["this tunnel carries TLS for example.com only: it names the server 'other.org'"]


async def test_much_is_carried_whole_both_ways_at_once(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(ports=(8080,))
    sent = b"HELO\r\n\r\n" + bytes(range(256)) * 40_000
    async with door.tunnel("example.com:8080") as tunnel, anyio.create_task_group() as tasks:

        async def send() -> None:
            await tunnel.send(sent)
            await tunnel.send_eof()

        tasks.start_soon(send)
        assert await read_to_end(tunnel) == sent


async def test_a_download_that_nobody_reads_is_not_hoarded(door: Door) -> None:
    await door.open()
    async with await door.connect() as stream:
        await stream.send(b"GET http://example.com/endless HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await stream.receive()
        before = resident_bytes(door.egress.pid)
        assert (await door.get("http://example.com/")).startswith(b"HTTP/1.1 200 "), "the others go on meanwhile"
        assert resident_bytes(door.egress.pid) - before < 8 * 1024 * 1024


def resident_bytes(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
