"""Bodies inside HTTPS that is read go on piece by piece: no side sends its next piece before the other has this one.

A proxy that gathers a body first would leave both sides waiting for each other. What shows it is the order, not a time.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import pytest
from anyio.streams.tls import TLSStream
from anyio.to_thread import run_sync

from cloister.egress.authority import Authority as ProxyAuthority
from cloister.egress.messages import EgressSettings

from .door import Door
from .origin import Authority
from .world import World

HOST = "example.com:8443"
PIECE = b"x" * 65536


@dataclass(frozen=True)
class Server:
    """The origin's side of one connection, led by the test."""

    stream: ssl.SSLSocket

    async def receive_until(self, end: bytes) -> bytes:
        return await run_sync(self._receive_until, end)

    async def send(self, data: bytes) -> None:
        await run_sync(self.stream.sendall, data)

    def _receive_until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            more = self.stream.recv(65536)
            assert more, f"the connection ended before {end!r}"
            data += more
        return data


@dataclass(frozen=True)
class Ends:
    """Both ends of a tunnel that is read."""

    client: TLSStream
    server: Server

    async def client_receives_until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end):
            data += await self.client.receive()
        return data


@dataclass(frozen=True)
class Way:
    """What it takes to make a tunnel whose both ends are the test's."""

    door: Door
    listener: socket.socket
    server_context: ssl.SSLContext
    client_context: ssl.SSLContext

    @asynccontextmanager
    async def ends(self) -> AsyncIterator[Ends]:
        accepted: list[ssl.SSLSocket] = []

        async def accept() -> None:
            accepted.append(await run_sync(self._accept))

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(accept)
                async with self.door.tunnel(HOST) as tunnel:
                    client = await TLSStream.wrap(tunnel, hostname="example.com", ssl_context=self.client_context)
                    with accepted[0] as stream:
                        yield Ends(client, Server(stream))

    def _accept(self) -> ssl.SSLSocket:
        connection, _ = self.listener.accept()
        connection.settimeout(15)
        return self.server_context.wrap_socket(connection, server_side=True)


@pytest.fixture
def settings(settings: EgressSettings) -> EgressSettings:
    """Longer waits than any of the test: here nothing is to run out."""
    return replace(settings, response_seconds=60.0, request_seconds=60.0, idle_seconds=60.0)


@pytest.fixture
def listener(namespace: World) -> Iterator[socket.socket]:
    with namespace.listener("0.0.0.0", 8443) as listener:
        listener.settimeout(15)
        yield listener


@pytest.fixture
async def way(door: Door, listener: socket.socket, authority: Authority, own_authority: ProxyAuthority) -> Way:
    await door.open(methods=("GET", "POST"), ports=(8443,))
    trusting = ssl.create_default_context(cadata=own_authority.certificate)
    return Way(door, listener, authority.server_context, trusting)


def head(method: str, *headers: str) -> bytes:
    return "\r\n".join((f"{method} / HTTP/1.1", f"Host: {HOST}", *headers, "", "")).encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def test_each_event_of_a_stream_arrives_before_the_next_is_sent(way: Way) -> None:
    async with way.ends() as ends:
        await ends.client.send(head("GET", "Accept: text/event-stream"))
        await ends.server.receive_until(b"\r\n\r\n")
        await ends.server.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(20):
            event = b"data: %d\n\n" % number
            await ends.server.send(chunk(event))
            await ends.client_receives_until(event + b"\r\n")
        await ends.server.send(chunk(b""))
        assert await ends.client_receives_until(b"0\r\n\r\n")


@pytest.mark.parametrize("chunked", [False, True], ids=["of known length", "in chunks"])
async def test_each_piece_of_an_upload_arrives_before_the_next_is_sent(way: Way, chunked: bool) -> None:
    pieces = [b"%s%02d" % (PIECE, number) for number in range(64)]
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {sum(map(len, pieces))}"
    async with way.ends() as ends:
        await ends.client.send(head("POST", length))
        await ends.server.receive_until(b"\r\n\r\n")
        for piece in pieces:
            await ends.client.send(chunk(piece) if chunked else piece)
            await ends.server.receive_until(piece[-3:] + (b"\r\n" if chunked else b""))
        if chunked:
            await ends.client.send(chunk(b""))
            await ends.server.receive_until(b"0\r\n\r\n")
        await ends.server.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        assert (await ends.client_receives_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")


async def test_a_client_that_waits_for_the_word_to_go_on_gets_it_before_its_body(way: Way) -> None:
    async with way.ends() as ends:
        await ends.client.send(head("POST", "Content-Length: 4", "Expect: 100-continue"))
        assert (await ends.client_receives_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        await ends.client.send(b"body")
        await ends.server.receive_until(b"\r\n\r\nbody")
        await ends.server.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        assert (await ends.client_receives_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 ")


async def test_one_whose_method_is_refused_is_not_told_to_go_on(way: Way) -> None:
    async with way.ends() as ends:
        await ends.client.send(head("PUT", "Content-Length: 4", "Expect: 100-continue"))
        assert (await ends.client.receive()).startswith(b"HTTP/1.1 403 ")
