"""Grants in tunnels: what the upstream received, what the sandbox got back, and what is a leak."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from cloister.egress.authority import Authority as ProxyAuthority
from cloister.model.network import NetworkMode
from cloister.model.secret import Grant, SecretValue

from .door import Door, client_hello
from .origin import Authority, Origin
from .test_doors import MARK, VALUE, _answer
from .test_intercept import Client, get
from .world import World

PORTS = (80, 443, 8444)
GRANT = Grant(
    name="GH_PAT",
    value=SecretValue(VALUE),
    placeholder=MARK,
    hosts=("example.com",),
    format="token {}",
    methods=("GET", "POST"),
    paths=("/v1",),
)


@pytest.fixture(scope="module")
def server(namespace: World, authority: Authority) -> Iterator[Origin]:
    with Origin(namespace.listener("0.0.0.0", 8444), _answer, authority.server_context) as server:
        yield server


@pytest.fixture
def api(server: Origin) -> Origin:
    server.clear()
    return server


@pytest.fixture
def client(door: Door, own_authority: ProxyAuthority) -> Client:
    return Client(door, own_authority.certificate)


def ask(path: str = "/v1/echo", *, host: str = "example.com", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return get(path, host=f"{host}:8444", headers=f"{lines}Connection: close")


# Leaks


@pytest.mark.parametrize(
    "asked",
    [
        ask(X_Other=MARK),
        ask("/v2", Authorization=MARK),
        ask("/v1/%2e%2e/v2", Authorization=MARK),
        ask(f"/v1/{MARK}"),
        ask(f"/v1?key={MARK}"),
        get("/v1", method="DELETE", host="example.com:8444", headers=f"Authorization: {MARK}"),
    ],
)
async def test_a_placeholder_elsewhere_is_refused_and_told(
    door: Door, client: Client, api: Origin, asked: bytes
) -> None:
    await door.open(ports=PORTS, grants=[GRANT])
    assert (await client.ask(asked, "example.com:8444")).startswith(b"HTTP/1.1 403 ")
    assert "an attempt to leak the secret GH_PAT" in door.refusals()[-1]
    assert not any(VALUE.encode() in request or MARK.encode() in request for request in api.received)


async def test_a_placeholder_to_another_host_that_is_read_is_refused(
    door: Door, client: Client, origins: dict[str, Origin]
) -> None:
    other = replace(GRANT, name="OTHER", hosts=("other.org",), placeholder=MARK[:-1] + "0")
    await door.open(allow=("example.com", "other.org"), grants=[GRANT, other])
    answer = await client.ask(get("/v1", host="other.org", headers=f"Authorization: {MARK}"), "other.org:443")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert not any(origins["tls"].received)


async def test_a_grant_opens_no_host_that_the_policy_closes(door: Door, client: Client, api: Origin) -> None:
    await door.open(NetworkMode.OFF, ports=PORTS, grants=[GRANT])
    with pytest.raises(ValueError, match="internet is off"):
        await client.ask(ask(), "example.com:8444")
    assert api.received == []


async def test_only_hosts_of_a_grant_are_read(door: Door) -> None:
    """A tunnel to another host is carried closed: the origin's own certificate comes through."""
    await door.open(allow=("example.com", "other.org"), grants=[GRANT])
    async with door.tunnel("other.org:443") as tunnel:
        await tunnel.send(client_hello("other.org"))
        assert await tunnel.receive()
    assert door.refusals() == []


# What fits


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {MARK}"}, {"authorization": "Basic bWU6bWU="}])
async def test_the_upstream_gets_the_value_and_the_sandbox_does_not(
    door: Door, client: Client, api: Origin, headers: dict[str, str]
) -> None:
    await door.open(ports=PORTS, grants=[GRANT])
    answer = await client.ask(ask(**headers), "example.com:8444")
    (received,) = [request for request in api.received if request]
    assert received.count(f"Authorization: token {VALUE}\r\n".encode()) == 1
    assert received.lower().count(b"authorization") == 1
    assert b"X-Echo: token [secret GH_PAT]" in answer
    assert VALUE.encode() not in answer


async def test_where_the_grant_is_not_for_the_request_goes_without_the_value(
    door: Door, client: Client, api: Origin
) -> None:
    await door.open(ports=PORTS, grants=[GRANT])
    assert b" 200 OK" in await client.ask(ask("/public"), "example.com:8444")
    assert not any(VALUE.encode() in request for request in api.received)


async def test_each_request_of_a_connection_is_looked_at_for_itself(door: Door, client: Client, api: Origin) -> None:
    await door.open(ports=PORTS, grants=[GRANT])
    kept = get("/v1/x", host="example.com:8444", headers="Accept: x")
    answer = await client.ask(kept + ask("/v2", Authorization=MARK), "example.com:8444")
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b" 403 " in answer
    assert not any(MARK.encode() in request for request in api.received)
