"""The one strict reading of a request's head: what two parsers could read in two ways is refused (RFC 9112, 11)."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

import h11

from cloister.model.network import parse_host

LARGEST_HEAD_BYTES = 64 * 1024
MOST_HEADERS = 200
_USUAL_HEAD_BYTES = 1024
END_OF_HEAD = b"\r\n\r\n"

_REQUEST_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} [\x21-\x7e]+ HTTP/1\.[01]")
_HEADER_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_ABSOLUTE_FORM = re.compile(r"http://([^/?#]*)([/?][^#]*)?", re.IGNORECASE)
_PORT = re.compile(r"[0-9]{1,5}")
_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade", b"expect"),
    )
)
_FRAMING = frozenset((b"host", b"content-length"))


class MalformedError(Exception):
    """The request is not one that we read; the message says why and is safe to show."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Where a request wants to go."""

    host: str
    """Canonical: a name, or the shortest form of an address."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request whose head was read."""

    method: str
    authority: Authority
    target: str
    """In origin form; empty for CONNECT."""
    headers: tuple[tuple[bytes, bytes], ...]
    """As they came, without those that are for one hop only; `Host` and `Content-Length` are kept."""
    chunked: bool
    """Whether a body of unknown length follows."""

    @property
    def has_body(self) -> bool:
        """Whether anything follows the head."""
        lengths = (value for name, value in self.headers if name.lower() == b"content-length")
        return self.chunked or any(int(value) for value in lengths)

    @property
    def overriding_methods(self) -> tuple[str, ...]:
        """Methods that some frameworks take in place of the one in the request line."""
        names = (b"x-http-method-override", b"x-http-method", b"x-method-override")
        return tuple(value.decode("latin-1") for name, value in self.headers if name.lower() in names)


def parse_authority(text: str, *, default_port: int | None = None) -> Authority:
    """Return `host:port`; the port may be absent when there is a default. ValueError with the reason."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(.*))?", text)
    host, port_text = bracketed.groups() if bracketed else _split(text)
    if port_text is None:
        if default_port is None:
            raise ValueError(f"{text[:300]!r} has no port")
        port = default_port
    else:
        port = _parse_port(port_text)
    return Authority(str(IPv6Address(host)) if bracketed else _parse_name_or_ipv4(host), port)


def parse_request(
    connection: h11.Connection,
    head: bytes,
    *,
    inside: Authority | None,
    also_named: tuple[Authority, ...] = (),
    default_port: int = 80,
) -> Request:
    """Return the request that `head` begins; `connection` is a fresh h11 server, and reads the body later.

    A proxy's request names its authority (CONNECT, or absolute form). Requests inside a tunnel are in
    origin form, and `inside` is where that tunnel leads; its `Host` may name one of `also_named` instead, and
    leaves out the port when it is the scheme's `default_port`. Raises MalformedError.
    """
    _check_lines(head)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise MalformedError(str(error)) from error
    if not isinstance(event, h11.Request):
        raise MalformedError("it is not a request")
    _check_framing(event)
    try:
        authority, target = _parse_target(event, inside)
        _check_host(event, (authority, *also_named), default_port)
    except ValueError as error:
        raise MalformedError(str(error)) from error
    return Request(
        method=event.method.decode(),
        authority=authority,
        target=target,
        headers=end_to_end(event.headers.raw_items()),
        chunked=any(name == b"transfer-encoding" for name, _ in event.headers),
    )


def parse_connect(head: bytes) -> Request:
    """Return the request of a CONNECT as `parse_request` does, at once when its head came before, as most do."""
    return _parse_usual_connect(head) if len(head) <= _USUAL_HEAD_BYTES else _parse_connect(head)


def _parse_connect(head: bytes) -> Request:
    return parse_request(new_server(), head, inside=None)


_parse_usual_connect = lru_cache(maxsize=256)(_parse_connect)


def new_server() -> h11.Connection:
    """Return the state of a connection whose requests come to us."""
    return h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD_BYTES)


def end_to_end(headers: list[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that are for the far end, without those for one hop (RFC 9110, 7.6.1)."""
    named = {
        token.strip().lower() for name, value in headers if name.lower() == b"connection" for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | (named - _FRAMING)
    return tuple((name, value) for name, value in headers if name.lower() not in dropped)


def _check_lines(head: bytes) -> None:
    request_line, *header_lines = head.removesuffix(END_OF_HEAD).split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(request_line):
        raise MalformedError("the request line is not `METHOD TARGET HTTP/1.1`")
    if len(header_lines) > MOST_HEADERS:
        raise MalformedError(f"it has more than {MOST_HEADERS} headers")
    for line in header_lines:
        if not _HEADER_LINE.fullmatch(line):
            raise MalformedError("a header line is not `Name: value` (folded lines, bare CR or LF and NUL are refused)")
    # Here and not later, because h11 takes `1, 1` and equal lengths for one.
    lengths = [value.strip(b"\t ") for name, value in map(_split_header, header_lines) if name == b"content-length"]
    if len(lengths) > 1 or not all(map(bytes.isdigit, lengths)):
        raise MalformedError("Content-Length is not one number")


def _split_header(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name.lower(), value


def _check_framing(event: h11.Request) -> None:
    names = [name for name, _ in event.headers]
    if b"transfer-encoding" in names and b"content-length" in names:
        raise MalformedError("it has both Content-Length and Transfer-Encoding")
    if b"transfer-encoding" in names and event.http_version != b"1.1":
        raise MalformedError("Transfer-Encoding needs HTTP/1.1")
    if b"upgrade" in names or b"http2-settings" in names:
        raise MalformedError("a change of protocol is not carried")
    if event.method == b"CONNECT" and (b"content-length" in names or b"transfer-encoding" in names):
        raise MalformedError("CONNECT has no body")


def _parse_target(event: h11.Request, inside: Authority | None) -> tuple[Authority, str]:
    target = event.target.decode()
    if inside is not None:
        if event.method == b"CONNECT" or not target.startswith("/"):
            raise ValueError("a request inside a tunnel names a path")
        return inside, target
    if event.method == b"CONNECT":
        return parse_authority(target), ""
    absolute = _ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        raise ValueError("this is a proxy: a request is CONNECT host:port, or names an http:// address")
    path = absolute[2] or "/"
    return parse_authority(absolute[1], default_port=80), path if path.startswith("/") else "/" + path


def _check_host(event: h11.Request, names: tuple[Authority, ...], default_port: int) -> None:
    hosts = [value.decode("latin-1") for name, value in event.headers if name == b"host"]
    if len(hosts) > 1:
        raise ValueError("it has more than one Host")
    port = names[0].port if event.method == b"CONNECT" else default_port
    if hosts and parse_authority(hosts[0], default_port=port) not in names:
        raise ValueError(f"Host is not {names[0]}, which the request is for")


def _split(text: str) -> tuple[str, str | None]:
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _parse_port(text: str) -> int:
    if not _PORT.fullmatch(text) or not 0 < int(text) < 65536:
        raise ValueError(f"{text[:300]!r} is not a port")
    return int(text)


def _parse_name_or_ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        return parse_host(text)
