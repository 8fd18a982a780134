"""Plain HTTP through the real process: what is carried, and what is refused because two parsers could differ."""

import anyio
import pytest

from cloister.model.network import NetworkMode

from .door import Door, read_to_end
from .origin import Origin
from .world import World

GET = "GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n"
POST = "POST http://example.com/ HTTP/1.1\r\nHost: example.com\r\n"

MALFORMED = {
    "CL.TE": POST + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "TE.CL": POST + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n1\r\nG\r\n0\r\n\r\n",
    "TE.TE": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "TE with a tab": POST + "Transfer-Encoding:\tchunked, identity\r\n\r\n0\r\n\r\n",
    "TE in HTTP/1.0": POST.replace("HTTP/1.1", "HTTP/1.0") + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two Content-Length, equal": POST + "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "two Content-Length, different": POST + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "a list of lengths": POST + "Content-Length: 1, 1\r\n\r\nx",
    "a signed length": POST + "Content-Length: +1\r\n\r\nx",
    "two Host": GET + "Host: other.org\r\n\r\n",
    "two Host, equal": GET + "Host: example.com\r\n\r\n",
    "no Host": "GET http://example.com/ HTTP/1.1\r\n\r\n",
    "another Host": "GET http://example.com/ HTTP/1.1\r\nHost: other.org\r\n\r\n",
    "another port in Host": "GET http://example.com/ HTTP/1.1\r\nHost: example.com:8080\r\n\r\n",
    "Host of a tunnel": "CONNECT example.com:443 HTTP/1.1\r\nHost: other.org:443\r\n\r\n",
    "bare LF": "GET http://example.com/ HTTP/1.1\nHost: example.com\r\n\r\n",
    "bare LF in a header": GET + "X: a\nY: b\r\n\r\n",
    "bare CR in a header": GET + "X: a\rY: b\r\n\r\n",
    "obs-fold": GET + "X: a\r\n b\r\n\r\n",
    "obs-fold first": "GET http://example.com/ HTTP/1.1\r\n Host: other.org\r\nHost: example.com\r\n\r\n",
    "NUL in a header": GET + "X: a\0b\r\n\r\n",
    "space before the colon": GET + "Content-Length : 1\r\n\r\nx",
    "no header name": GET + ": x\r\n\r\n",
    "too many headers": GET + "X: a\r\n" * 300 + "\r\n",
    "no colon": GET + "nonsense\r\n\r\n",
    "upgrade": GET + "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
    "h2c": GET + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": "GET http://example.com/\r\n\r\n",
    "two spaces": "GET  http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "origin form": "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "https in absolute form": "GET https://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "another scheme": "GET ftp://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "userinfo": "GET http://example.com@other.org/ HTTP/1.1\r\nHost: other.org\r\n\r\n",
    "userinfo, allowed last": "GET http://other.org@example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "backslash": "GET http://other.org\\@example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "fragment": "GET http://example.com/#@other.org/ HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "port 0": "GET http://example.com:0/ HTTP/1.1\r\nHost: example.com:0\r\n\r\n",
    "port 65536": "GET http://example.com:65536/ HTTP/1.1\r\nHost: example.com:65536\r\n\r\n",
    "a signed port": "GET http://example.com:+80/ HTTP/1.1\r\nHost: example.com:+80\r\n\r\n",
    "CONNECT without a port": "CONNECT example.com HTTP/1.1\r\nHost: example.com\r\n\r\n",
    "CONNECT with a path": "CONNECT example.com:443/ HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    "CONNECT with a body": "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\nContent-Length: 4\r\n\r\nabcd",
}


@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_malformed_request_gets_400_and_reaches_nobody(
    door: Door, origins: dict[str, Origin], world: World, request_: str
) -> None:
    await door.open(NetworkMode.FULL)
    # A second, good request in the same bytes is not answered: the connection is closed.
    answer = await door.ask(request_.encode() + GET.encode() + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert world.lookups == []
    assert origins["http"].received == []
    assert door.refusals()[0].startswith("malformed request: ")


async def test_the_same_requests_well_formed_are_carried(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    for good in (
        GET + "X: a\r\n\r\n",
        POST + "Content-Length: 1\r\n\r\nx",
        POST + "Transfer-Encoding: chunked\r\n\r\n",
    ):
        body = "1\r\nx\r\n0\r\n\r\n" if "chunked" in good else ""
        answer = await door.ask(good.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1).encode() + body.encode())
        assert answer.startswith(b"HTTP/1.1 200 ")
    assert len(origins["http"].received) == 3


async def test_headers_are_written_anew(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    hop = (
        "Connection: close, X-Hop, Content-Length\r\nX-Hop: 1\r\nProxy-Authorization: Basic eDp5\r\nTE: trailers\r\n"
        "Proxy-Connection: keep-alive\r\nKeep-Alive: 5\r\nX-Case: Kept\r\nContent-Length: 3\r\n"
    )
    answer = await door.ask(f"POST http://EXAMPLE.com:80/a?b HTTP/1.1\r\nHost: example.com\r\n{hop}\r\nabc".encode())
    assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Origin: yes\r\nConnection: close\r\n\r\nhello"
    assert origins["http"].received == [
        b"POST /a?b HTTP/1.1\r\nHost: example.com\r\nX-Case: Kept\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    ]


async def test_chunk_extensions_and_trailers_are_dropped(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    body = "3;x=y\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n"
    await door.ask(f"{POST}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{body}".encode())
    assert origins["http"].received[0].endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize("body", ["3\nabc\r\n0\r\n\r\n", "3\r\nabcX0\r\n\r\n", "-1\r\n\r\n", "0x3\r\nabc\r\n0\r\n\r\n"])
async def test_a_malformed_body_ends_the_connection(door: Door, origins: dict[str, Origin], body: str) -> None:
    await door.open()
    answer = await door.ask(f"{POST}Transfer-Encoding: chunked\r\n\r\n{body}{GET}\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_every_request_of_a_kept_alive_connection_is_judged(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    second = GET.replace("example.com", "other.org")
    answer = await door.ask(f"{GET}\r\n{GET}\r\n{second}\r\n{GET}\r\n".encode())
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"other.org is not in network.allow" in answer
    assert len(origins["http"].received) == 2
    await door.open(allow=("example.com", "other.org"))
    answer = await door.ask(f"{GET}\r\n{second}Connection: close\r\n\r\n".encode())
    assert answer.count(b"HTTP/1.1 200 ") == 2


async def test_the_policy_of_the_moment_judges_a_connection_that_is_kept_alive(door: Door) -> None:
    await door.open()
    async with await door.connect() as stream:
        await stream.send(f"{GET}\r\n".encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
        await door.open(NetworkMode.OFF)
        await stream.send(f"{GET}\r\n".encode())
        assert b"agent internet is off" in await read_to_end(stream)


async def test_a_head_that_is_too_long_is_refused(door: Door) -> None:
    await door.open()
    answer = await door.ask(f"{GET}X: {'x' * 70_000}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_body_without_a_length_is_chunked_for_the_client(door: Door) -> None:
    await door.open()
    answer = await door.ask(b"GET http://example.com/close HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in answer and answer.endswith(b"d\r\nuntil the end\r\n0\r\n\r\n")


async def test_a_client_that_waits_is_told_to_continue(door: Door, origins: dict[str, Origin]) -> None:
    await door.open()
    async with await door.connect() as stream:
        await stream.send(f"{POST}Content-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n".encode())
        assert (await stream.receive()).startswith(b"HTTP/1.1 100 ")
        await stream.send(b"abc")
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 200 ")
    assert origins["http"].received[0].endswith(b"abc")


async def test_a_redirect_is_not_followed_by_us(door: Door, origins: dict[str, Origin]) -> None:
    await door.open(allow=("example.com",))
    answer = await door.get("http://example.com/redirect")
    assert answer.startswith(b"HTTP/1.1 302 ") and b"Location: http://other.org/" in answer
    assert len(origins["http"].received) == 1


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/silent", 504, b"example.com:80 was silent for 1 s"),
        ("/odd", 502, b"example.com:80 did not answer in HTTP/1.1"),
        ("/switch", 502, b"example.com:80 did not answer in HTTP/1.1"),
        ("/hang-up", 502, b"example.com:80 did not answer in HTTP/1.1"),
    ],
)
async def test_an_upstream_that_fails_is_named(door: Door, path: str, status: int, reason: bytes) -> None:
    await door.open()
    answer = await door.get(f"http://example.com{path}")
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()) and reason in answer


async def test_a_body_that_breaks_off_does_not_look_whole(door: Door) -> None:
    await door.open()
    with pytest.raises(ConnectionResetError):
        await door.get("http://example.com/half")


async def test_a_resolver_that_is_silent_is_named(door: Door, world: World) -> None:
    world.zone["example.com"] = ["!"]
    await door.open()
    answer = await door.get("http://example.com/")
    assert answer.startswith((b"HTTP/1.1 502 ", b"HTTP/1.1 504 ")) and b"could not look up example.com" in answer


async def test_a_port_where_nobody_listens_is_named(door: Door) -> None:
    await door.open(ports=(81,))
    answer = await door.get("http://example.com:81/")
    assert answer.startswith(b"HTTP/1.1 502 ") and b"example.com:81 did not take a connection" in answer


async def test_a_request_that_never_ends_is_given_up(door: Door) -> None:
    await door.open()
    async with await door.connect() as stream:
        await stream.send(b"GET http://exam")
        with anyio.fail_after(30):
            assert (await read_to_end(stream)).startswith(b"HTTP/1.1 408 ")
