"""Upstreams behind a company's proxy: a real squid that wants credentials, and what goes around it."""

import shutil
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import anyio
import pytest
from anyio.streams.tls import TLSStream

from cloister.egress.authority import Authority as ProxyAuthority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.encodings import forms_of
from cloister.model.network import Audit, NetworkMode
from cloister.model.secret import SecretValue
from cloister.model.upstreams import UpstreamProxy, Upstreams, parse_direct_hosts

from .company import ADDRESS, ONLY_OUTSIDE, PASSWORD, PORT, USER, Company, open_company
from .conftest import PUBLIC
from .door import Door, read_to_end
from .origin import Authority, Origin
from .world import World

PROXY = UpstreamProxy(host=ADDRESS, port=PORT, credentials=SecretValue(f"{USER}:{PASSWORD}"))
BEHIND = Upstreams(proxy=PROXY)
TOKEN = b64encode(f"{USER}:{PASSWORD}".encode())
FORMS = [form for text in (PASSWORD, f"{USER}:{PASSWORD}") for form in forms_of(text)]
NEVER = [
    "localhost",
    "127.0.0.1",
    "::1",
    "169.254.169.254",
    "100.100.100.200",
    "10.1.2.3",
    "fd00::1",
    "64:ff9b::a01:203",
]

Behind = Callable[..., AbstractAsyncContextManager[Door]]


@pytest.fixture(scope="module")
def squid(namespace: World) -> Iterator[Company]:
    if shutil.which("squid") is None:
        pytest.skip("squid is not installed")
    with open_company(namespace, PUBLIC) as company:
        yield company


@pytest.fixture
def company(squid: Company) -> Company:
    squid.forget()
    return squid


@pytest.fixture
def behind(world: World, settings: EgressSettings, origins: dict[str, Origin]) -> Behind:
    """Opens a sandbox's door of a process whose upstreams are reached in such a way."""

    @asynccontextmanager
    async def opened(upstreams: Upstreams = BEHIND, **changes: object) -> AsyncIterator[Door]:
        changed = replace(settings, upstreams=upstreams, **changes)  # type: ignore[arg-type]
        with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
            async with EgressProcess(changed, command_prefix=world.command_prefix) as process:
                yield Door(process, listener)

    return opened


def with_proxy(**changes: object) -> Upstreams:
    return Upstreams(proxy=replace(PROXY, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("address", NEVER)
async def test_an_address_that_is_never_reached_is_refused_before_the_proxy_is_asked(
    behind: Behind, company: Company, world: World, address: str
) -> None:
    resolved = address if address != "localhost" else "127.0.0.2"
    world.zone["inside.example"] = [resolved]
    world.zone["mixed.example"] = [PUBLIC, resolved]
    shown = f"[{address}]" if ":" in address else address
    async with behind() as door:
        await door.open(NetworkMode.FULL)
        for host in (shown, "inside.example", "mixed.example"):
            assert (await door.get(f"http://{host}/")).startswith(b"HTTP/1.1 403 ")
            with pytest.raises(ValueError, match=r"HTTP/1\.1 403"):
                async with door.tunnel(f"{host}:443"):
                    pass
    assert company.asked() == []


@pytest.mark.parametrize(
    "host", ["intranet", "git.corp.internal", "printer.local", "metadata.google.internal", "x.home.arpa"]
)
async def test_a_name_that_only_the_proxy_could_know_must_be_a_public_one(
    behind: Behind, company: Company, host: str
) -> None:
    async with behind() as door:
        await door.open(NetworkMode.FULL)
        answer = (await door.get(f"http://{host}/")).decode()
    assert answer.startswith("HTTP/1.1 403 ") and f"add {host} to upstream_addresses or no_proxy" in answer
    assert company.asked() == []


async def test_a_public_name_that_only_the_proxy_knows_is_reached(behind: Behind, company: Company) -> None:
    async with behind() as door:
        await door.open(allow=(ONLY_OUTSIDE,))
        assert (await door.get(f"http://{ONLY_OUTSIDE}/")).startswith(b"HTTP/1.1 200 ")
    assert company.asked() == [f"200 GET http://{ONLY_OUTSIDE}/ {USER}"]


async def test_the_policy_is_asked_first(behind: Behind, company: Company, world: World) -> None:
    async with behind() as door:
        await door.open(allow=("other.org",))
        assert b"is not in network.allow" in await door.get("http://example.com/")
    assert company.asked() == world.lookups == []


@pytest.mark.parametrize("credentials", [None, SecretValue(f"{USER}:wrong"), SecretValue("wrong:")])
async def test_wrong_credentials_are_told_without_any(
    behind: Behind, company: Company, origins: dict[str, Origin], credentials: SecretValue | None
) -> None:
    async with behind(with_proxy(credentials=credentials)) as door:
        await door.open()
        answer = await door.get("http://example.com/")
        with pytest.raises(ValueError, match="502") as caught:
            async with door.tunnel("example.com:443"):
                pass
    for said in (answer.decode(), str(caught.value)):
        assert said.startswith("HTTP/1.1 502 ")
        assert f"The upstream proxy {ADDRESS}:{PORT} did not take the credentials of Cloister's setting" in said
        assert "wrong" not in said and "roxy-Auth" not in said
    assert {line.split()[0] for line in company.asked()} == {"407"}
    assert origins["http"].reached == []


async def test_what_the_proxy_refuses_is_told(behind: Behind, company: Company, world: World) -> None:
    world.zone["www.closed.example"] = [PUBLIC]
    async with behind() as door:
        await door.open(NetworkMode.FULL)
        with pytest.raises(
            ValueError, match=f"502.*\n(?s:.*){ADDRESS}:{PORT} opened no tunnel to www.closed.example:443: "
        ):
            async with door.tunnel("www.closed.example:443"):
                pass
        assert (await door.get("http://www.closed.example/")).startswith(b"HTTP/1.1 403 ")


async def test_a_proxy_that_is_not_there_is_told(behind: Behind) -> None:
    async with behind(with_proxy(port=3999)) as door:
        await door.open()
        answer = (await door.get("http://example.com/")).decode()
    assert answer.startswith("HTTP/1.1 502 ")
    assert f"The upstream proxy cannot be reached: {ADDRESS}:3999 did not take a connection" in answer


async def test_a_proxy_without_an_address_is_told(behind: Behind) -> None:
    async with behind(with_proxy(host="proxy.corp.example")) as door:
        await door.open()
        answer = (await door.get("http://example.com/")).decode()
    assert answer.startswith("HTTP/1.1 502 ") and "could not look up proxy.corp.example" in answer


@pytest.mark.parametrize(
    ("said", "status"),
    [(None, "504"), (b"", "502"), (b"SSH-2.0-x\r\n\r\n", "502"), (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "502")],
)
async def test_a_proxy_that_speaks_no_http_is_told(
    behind: Behind, world: World, said: bytes | None, status: str
) -> None:
    def answer(stream: socket.socket, request: bytes) -> None:
        if said is None:
            stream.recv(1)
        else:
            stream.sendall(said)

    listener = world.listener(ADDRESS, 0)
    port = listener.getsockname()[1]
    Origin(listener, answer).start()
    async with behind(with_proxy(port=port)) as door:
        await door.open()
        with pytest.raises(ValueError, match=f"{status} .*\n(?s:.*)The upstream proxy {ADDRESS}:{port} "):
            async with door.tunnel("example.com:443"):
                pass


def quote_the_request(stream: socket.socket, request: bytes) -> None:
    """Answer as squid did before it was mended (CVE-2025-62168): with a page that has the request for a mail."""
    page = f"<a href='mailto:webmaster?body={quote(request.decode())}'>{request.decode()}</a>".encode()
    stream.sendall(b"HTTP/1.1 503 Oh\r\nX-Quoted: %s\r\nContent-Length: %d\r\n\r\n" % (TOKEN, len(page)) + page)


async def test_error_pages_show_no_credentials(behind: Behind, world: World) -> None:
    listener = world.listener(ADDRESS, 0)
    port = listener.getsockname()[1]
    proxy = Origin(listener, quote_the_request).start()
    async with behind(with_proxy(port=port)) as door:
        await door.open()
        answer = await door.get("http://example.com/")
    assert answer.startswith(b"HTTP/1.1 503 ") and answer.count(b"[secret ") == 3
    assert [form for form in FORMS if form in answer] == []
    with world.connect(ADDRESS, port) as unprotected:
        unprotected.sendall(proxy.received[0])
        twin = b"".join(iter(lambda: unprotected.recv(65536), b""))
    assert twin.count(TOKEN) >= 2, "the page has them"


async def test_plain_requests_go_through_it_one_after_the_other(
    behind: Behind, company: Company, origins: dict[str, Origin]
) -> None:
    async with behind() as door:
        await door.open(NetworkMode.FULL)
        async with await door.connect() as stream:
            for host in ("example.com", "www.example.com", "example.com"):
                await stream.send(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                answer = await stream.receive()
                while b"hello" not in answer:
                    answer += await stream.receive()
    assert [line.split()[2] for line in company.asked()] == [
        "http://example.com/",
        "http://www.example.com/",
        "http://example.com/",
    ]
    assert b"roxy-Auth" not in b"".join(origins["http"].received)


async def test_a_tunnel_to_port_80_goes_through_it_as_requests(behind: Behind, company: Company) -> None:
    async with behind() as door:
        await door.open()
        async with door.tunnel("example.com:80") as tunnel:
            await tunnel.send(b"GET /x HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
            assert (await read_to_end(tunnel)).startswith(b"HTTP/1.1 200 ")
    assert company.asked() == [f"200 GET http://example.com/x {USER}"]


@pytest.mark.parametrize("read", [False, True])
async def test_tls_goes_through_it_and_proves_who_it_is(
    behind: Behind, company: Company, authority: Authority, own_authority: ProxyAuthority, *, read: bool
) -> None:
    trusted = own_authority.certificate if read else authority.pem
    async with behind() as door:
        await door.open(audit=Audit.FULL if read else Audit.DECISIONS)
        assert (await ask_securely(door, trusted)).startswith(b"HTTP/1.1 200 ")
    assert company.asked() == [f"200 CONNECT example.com:443 {USER}"]


async def test_a_server_behind_it_that_cannot_prove_who_it_is_gets_nothing(behind: Behind, company: Company) -> None:
    async with behind(authorities="") as door:
        await door.open(audit=Audit.FULL)
        with pytest.raises(ValueError, match="its certificate is not valid for it"):
            async with door.tunnel("example.com:443"):
                pass
    assert company.asked() == [f"200 CONNECT example.com:443 {USER}"]


@pytest.mark.parametrize(
    ("entry", "through"),
    [("other.org", 2), ("example.com", 0), (".example.com", 0), ("example.com:80", 1), ("*", 0), (f"{PUBLIC}/32", 2)],
)
async def test_no_proxy_is_direct(
    behind: Behind, company: Company, origins: dict[str, Origin], authority: Authority, entry: str, through: int
) -> None:
    async with behind(Upstreams(proxy=PROXY, direct=(parse_direct_hosts(entry),))) as door:
        await door.open()
        assert (await door.get("http://www.example.com/")).startswith(b"HTTP/1.1 200 ")
        assert (await ask_securely(door, authority.pem)).startswith(b"HTTP/1.1 200 ")
    assert len(company.asked()) == through
    assert (len(origins["http"].reached) + len(origins["http6"].reached), len(origins["tls"].reached)) == (1, 1)


async def test_what_no_proxy_makes_direct_gains_no_private_address(
    behind: Behind, company: Company, world: World, origins: dict[str, Origin]
) -> None:
    world.zone["git.corp.example"] = ["10.1.2.3"]
    direct = Upstreams(proxy=PROXY, direct=(parse_direct_hosts("corp.example"), parse_direct_hosts("10.0.0.0/8")))
    for allowed, status in (((), 403), (("10.0.0.0/8",), 200)):
        async with behind(direct, allow_private=allowed) as door:
            await door.open(NetworkMode.FULL)
            for host in ("git.corp.example", "10.1.2.3"):
                assert (await door.get(f"http://{host}/")).startswith(f"HTTP/1.1 {status} ".encode())
    assert (company.asked(), origins["http"].reached) == ([], ["10.1.2.3", "10.1.2.3"])


async def test_credentials_are_in_no_event_argument_or_environment(behind: Behind, company: Company) -> None:
    async with behind() as door:
        await door.open(NetworkMode.FULL)
        await door.get("http://example.com/")
        process = Path("/proc", str(door.egress.pid))
        seen = [(process / "cmdline").read_bytes(), (process / "environ").read_bytes()]
        told = f"{door.records} {door.ends} {PROXY!r} {BEHIND!r} {PROXY}".encode()
    assert [form for form in FORMS if any(form in text for text in (*seen, told))] == []
    assert company.asked(), "they were used"


async def ask_securely(door: Door, trusted: str) -> bytes:

    request = b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n"
    async with door.tunnel("example.com:443") as tunnel:
        stream = await TLSStream.wrap(
            tunnel, hostname="example.com", ssl_context=ssl.create_default_context(cadata=trusted)
        )
        await stream.send(request)
        with anyio.fail_after(20):
            return await stream.receive()
