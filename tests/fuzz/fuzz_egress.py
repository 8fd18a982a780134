"""Feeds the parsers of hostile bytes: `python tests/fuzz/fuzz_egress.py [-runs=N] [-max_total_time=SECONDS] [CORPUS]`.

What they accept must mean the same to another parser once we have written it anew; what they refuse must be
refused by their own exceptions and no other.
"""

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["cloister.egress", "cloister.model", "h11"]):
    import h11
    import httptools
    from dnslib import QTYPE, DNSRecord

    from cloister.egress.client_hello import parse_client_hello
    from cloister.egress.exchange import upstream_head
    from cloister.egress.gateway import CONNECT
    from cloister.egress.names import answer
    from cloister.egress.request import MalformedError, Request, parse_request
    from cloister.egress.stand_ins import StandIns
    from cloister.model.network import parse_host

STAND_INS = StandIns()

HEADS = (
    b"GET http://example.com/a HTTP/1.1\r\nHost: example.com\r\n\r\n",
    b"POST http://example.com:8080/ HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 4\r\n\r\nbody",
    b"POST http://a.example.com/ HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
)


class Second:
    """What another parser (llhttp) reads in a request."""

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        self.complete = True


def read_again(head: bytes) -> tuple[bytes, Second] | None:
    second = Second()
    parser = httptools.HttpRequestParser(second)
    try:
        parser.feed_data(head)
    except httptools.HttpParserInvalidMethodError:
        return None  # it has a list of methods, and we have none
    assert second.complete, head
    return parser.get_method(), second


def check_request(data: bytes) -> None:
    head = data if data.endswith(b"\r\n\r\n") else data + b"\r\n\r\n"
    if head.index(b"\r\n\r\n") + 4 != len(head):
        return  # the head ends at the first empty line, before this parser sees it
    try:
        request = parse_request(h11.Connection(h11.SERVER), head, inside=None)
    except MalformedError:
        return
    host = request.authority.host
    with contextlib.suppress(ValueError):
        assert parse_host(host) == host, host
    if request.method != CONNECT:
        check_what_is_sent(request)


def check_what_is_sent(request: Request) -> None:
    sent = h11.Connection(h11.CLIENT).send(upstream_head(request, default_port=80, kept_alive=False)) or b""
    again = read_again(sent)
    if again is None:
        return
    method, second = again
    assert method == request.method.encode(), sent
    assert second.target == request.target.encode(), sent
    hosts = [value for name, value in second.headers if name == b"host"]
    assert hosts == [str(request.authority).removesuffix(":80").encode()], sent
    framing = [name for name, _ in second.headers if name in (b"content-length", b"transfer-encoding")]
    assert len(framing) <= 1, sent


def check_hello(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_client_hello(data)


def check_question(data: bytes) -> None:
    answered = answer(data, STAND_INS)
    if answered is not None:
        reply = DNSRecord.parse(answered)
        assert reply.header.qr and reply.header.id == int.from_bytes(data[:2], "big"), data
        assert all(record.rtype in (QTYPE.A, QTYPE.AAAA) for record in reply.rr), data


def one(data: bytes) -> None:
    """The first byte says which parser; the others are its food, mixed into a good head where there is one."""
    kind, food = data[:1], data[1:]
    match kind:
        case b"" | b"\x00":
            check_hello(food)
        case b"\x01":
            check_request(food)
        case b"\x02":
            check_question(food)
        case _:
            good = HEADS[kind[0] % len(HEADS)]
            at = food[0] % len(good) if food else 0
            check_request(good[:at] + food[1:] + good[at:])


atheris.Setup(sys.argv, one)
atheris.Fuzz()
