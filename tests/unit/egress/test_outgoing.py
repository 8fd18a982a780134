"""Messages of Cloister's own, and a company's proxy on their way."""

import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from cloister.egress.outgoing import GuardedSender
from cloister.errors import DeniedError, RepositoryError, UnreachableError
from cloister.model.secret import SecretValue
from cloister.model.upstreams import DirectHosts, UpstreamProxy, Upstreams

pytestmark = pytest.mark.anyio

HOOK = "http://hooks.example/x"


@dataclass
class Listening:
    """Answers whoever connects, and keeps what it heard first."""

    answer: bytes
    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    async def take(self, stream: SocketStream) -> None:
        async with stream:
            text = b""
            while b"\r\n\r\n" not in text:
                text += await stream.receive()
            self.heard.append(text)
            await stream.send(self.answer)


@asynccontextmanager
async def listening(status: str) -> AsyncIterator[Listening]:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    taken = Listening(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    taken.port = listener.extra(SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, taken.take)
        yield taken
        group.cancel_scope.cancel()


async def find(host: str, port: int) -> Sequence[str]:
    """Everything is here, but for what is inside and for what nobody knows."""
    if host == "inside.example" or (host[0].isdigit() and ipaddress.ip_address(host).is_private):
        raise DeniedError(f"{host} is inside")
    if "unknown" in host:
        raise RepositoryError(f"nobody knows {host}")
    return ["127.0.0.1"]


def through(proxy: Listening, *direct: str) -> GuardedSender:
    way = UpstreamProxy(host="127.0.0.1", port=proxy.port, credentials=SecretValue("ann:pass"))
    return GuardedSender(find, upstreams=Upstreams(proxy=way, direct=tuple(DirectHosts(what=it) for it in direct)))


async def test_what_is_inside_is_refused_before_the_proxy_hears_of_it() -> None:
    async with listening("204 No Content") as proxy:
        for url in ("http://inside.example/x", "https://10.0.0.1/x", "http://unknown/x", "https://unknown.corp/x"):
            with pytest.raises((DeniedError, RepositoryError)):
                await through(proxy).send(url, {}, b"{}")
        assert proxy.heard == []
        assert await through(proxy).send("http://unknown.example/x", {}, b"{}") == 204, "only the proxy may know it"


async def test_the_proxy_is_asked_by_name_and_told_who_asks() -> None:
    async with listening("204 No Content") as proxy:
        assert await through(proxy).send(HOOK, {"webhook-id": "1"}, b"{}") == 204
        [heard] = proxy.heard
        assert heard.startswith(b"POST http://hooks.example/x HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic YW5uOnBhc3M=\r\n" in heard


async def test_what_is_secure_gets_a_tunnel_and_the_receiver_sees_no_credentials_of_the_proxy() -> None:
    async with listening("403 Forbidden") as proxy:
        with pytest.raises(UnreachableError, match="the proxy on the way does not lead there: 403"):
            await through(proxy).send("https://hooks.example/x", {"webhook-id": "1"}, b"{}")
        assert proxy.heard[0].startswith(b"CONNECT hooks.example:443 HTTP/1.1\r\n")
        assert b"webhook-id" not in proxy.heard[0]


async def test_a_proxy_that_does_not_know_us_is_no_receiver() -> None:
    async with listening("407 Proxy Authentication Required") as proxy:
        with pytest.raises(UnreachableError, match="credentials"):
            await through(proxy).send(HOOK, {}, b"{}")


async def test_what_needs_no_proxy_goes_straight() -> None:
    async with listening("204 No Content") as proxy, listening("200 OK") as receiver:
        url = f"http://hooks.example:{receiver.port}/x"
        assert await through(proxy, "example").send(url, {}, b"{}") == 200
        assert proxy.heard == [] and b"Proxy-Authorization" not in receiver.heard[0]
