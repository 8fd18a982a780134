"""What is believed of a request before it is known who calls."""

import json
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send

from cloister.api.arrival import Arrival

pytestmark = pytest.mark.anyio

PROXY, STRANGER = "10.0.0.2", "203.0.113.9"
PROXIES = [ip_network("10.0.0.0/24"), ip_network("fd00::/64")]


async def _echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    client = request.client.host if request.client else ""
    kept = [name for name in request.headers if "forwarded" in name]
    await JSONResponse([client, request.url.scheme, request.headers["host"], kept])(scope, receive, send)


async def _ask(
    app: Arrival, peer: str, headers: Mapping[str, str] | list[tuple[str, str]], host: str | None = "cloister.example"
) -> Any:
    """Return what the application behind it saw; or the status, when that saw nothing."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else headers
    pairs = pairs if host is None else [("host", host), *pairs]
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "server": ("10.0.0.1", 80),
        "client": (peer, 1),
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
    }
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    await app(scope, receive, send)
    return json.loads(sent[1]["body"]) if sent[0]["status"] == 200 else sent[0]["status"]


SPOOFED = {
    "X-Forwarded-For": "198.51.100.1",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "other.example",
    "X-Forwarded-Port": "1",
    "Forwarded": "for=198.51.100.1;proto=https",
}


async def test_nobody_but_a_proxy_is_believed() -> None:
    app = Arrival(_echo, proxies=PROXIES)
    assert await _ask(app, STRANGER, SPOOFED) == [STRANGER, "http", "cloister.example", []]
    assert await _ask(Arrival(_echo), PROXY, SPOOFED) == [PROXY, "http", "cloister.example", []]
    believed = ["198.51.100.1", "https", "other.example", []]
    assert await _ask(app, PROXY, SPOOFED) == believed, "the same words of a proxy"
    assert await _ask(app, f"::ffff:{PROXY}", SPOOFED) == believed
    assert await _ask(app, "fd00::2", SPOOFED) == believed


@pytest.mark.parametrize(
    ("said", "client"),
    [
        ([f"127.0.0.1, {STRANGER}"], STRANGER),
        (["127.0.0.1", STRANGER], STRANGER),
        ([f"127.0.0.1, {STRANGER}, 10.0.0.3"], STRANGER),
        ([f"{PROXY}, 10.0.0.3"], PROXY),
        ([f"{STRANGER}, unknown"], PROXY),
        (["127.0.0.1:80"], PROXY),
        ([""], PROXY),
        (["2001:db8::1"], "2001:db8::1"),
    ],
)
async def test_what_came_before_the_last_proxy_of_ours_may_be_anybodys_word(said: list[str], client: str) -> None:
    seen = await _ask(Arrival(_echo, proxies=PROXIES), PROXY, [("x-forwarded-for", value) for value in said])
    assert seen[0] == client


@pytest.mark.parametrize("scheme", ["ws", "javascript", "https, http", ""])
async def test_a_scheme_is_http_or_https(scheme: str) -> None:
    assert (await _ask(Arrival(_echo, proxies=PROXIES), PROXY, {"X-Forwarded-Proto": scheme}))[1] == "http"


async def test_who_does_not_come_through_the_proxy_stays_outside() -> None:
    app = Arrival(_echo, proxies=PROXIES, proxied_only=True)
    assert await _ask(app, STRANGER, SPOOFED) == 403
    assert (await _ask(app, PROXY, SPOOFED))[0] == "198.51.100.1"
    assert (await _ask(app, "127.0.0.1", {}))[0] == "127.0.0.1", "this machine's own programs"
    assert (await _ask(Arrival(_echo, proxies=PROXIES), STRANGER, {}))[0] == STRANGER, "the twin lets them in"


HOSTS = {
    "evil.example": False,
    "evil.example:8450": False,
    "127.0.0.1.evil.example": False,
    "localhost.evil.example": False,
    "cloister.example.evil.example": False,
    "localhost@evil.example": False,
    "2130706433": False,
    "127.1": False,
    "": False,
    "127.0.0.1:x": False,
    "localhost/x": False,
    "local host": False,
    "127.0.0.1:8450": True,
    "[::1]:8450": True,
    "192.0.2.1": True,
    "LOCALHOST:1": True,
    "cloister.example": True,
    "Cloister.Example:443": True,
}


@pytest.mark.parametrize("host", HOSTS)
async def test_a_page_of_elsewhere_cannot_give_us_a_name(host: str) -> None:
    seen = await _ask(Arrival(_echo, names={"cloister.example"}), "127.0.0.1", {}, host=host)
    assert (seen != 421) is HOSTS[host]


async def test_one_host_is_named_and_a_proxys_word_is_checked_too() -> None:
    app = Arrival(_echo, proxies=PROXIES, names={"cloister.example"})
    assert await _ask(app, STRANGER, {}, host=None) == 421
    assert await _ask(app, STRANGER, [("host", "cloister.example")]) == 421
    assert await _ask(app, PROXY, {"X-Forwarded-Host": "evil.example"}) == 421
    assert (await _ask(app, PROXY, {"X-Forwarded-Host": "cloister.example"}, host="backend:1"))[2] == "cloister.example"
    assert (await _ask(Arrival(_echo), STRANGER, {}, host="evil.example"))[2] == "evil.example", "the twin takes any"
