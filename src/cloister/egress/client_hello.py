"""The first message of TLS, read strictly enough to trust the server name in it (RFC 8446, 4.1.2; RFC 6066, 3)."""

import struct
from dataclasses import dataclass

LARGEST_HELLO_BYTES = 16 * 1024
MOST_RECORDS = 32

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_LARGEST_RECORD = 16384
_SERVER_NAME = 0
_HOST_NAME = 0
_ENCRYPTED_CLIENT_HELLO = 0xFE0D
_EXTENSION = struct.Struct(">HH")
"""Kind and size; that many bytes follow. Hellos have a score of them, and padding is one too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """What a client says before anything is encrypted."""

    server_name: str | None
    """As sent; None when there is none."""
    encrypted_hello: bool
    """Whether it holds an encrypted ClientHello, real or not (RFC 9849 lets clients pretend)."""


class _Reader:
    """Bytes that are taken from the front; ValueError when there are too few."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        begin = self._at
        self._at = end = begin + count
        if end > len(self._data):
            raise ValueError("it is shorter than it says")
        return self._data[begin:end]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Return what follows a length of `size` bytes."""
        begin = self._at + size
        self._at = end = begin + int.from_bytes(self._data[self._at : begin], "big")
        if end > len(self._data):
            raise ValueError("it is shorter than it says")
        return self._data[begin:end]

    @property
    def rest(self) -> int:
        return len(self._data) - self._at

    def expect_end(self) -> None:
        if self.rest:
            raise ValueError("it is longer than it says")


def parse_client_hello(data: bytes) -> ClientHello | None:
    """Return the ClientHello that a connection's first bytes hold; None when more bytes are needed.

    It may be spread over several records, and others may follow it. Raises ValueError with the reason as
    soon as it cannot be one.
    """
    message = b""
    at = records = 0
    while at < len(data) and not _is_complete(message):
        records += 1
        if records > MOST_RECORDS:
            raise ValueError("its ClientHello is in too many pieces")
        header = data[at : at + 5]
        _check_record(header)
        if len(header) < 5:
            break
        end = at + 5 + int.from_bytes(header[3:5], "big")
        message += data[at + 5 : end]
        at = end
    return _parse_body(_Reader(message[4:])) if _is_complete(message) else None


def _check_record(header: bytes) -> None:
    if header[0] != _HANDSHAKE or header[1:2] not in (b"", b"\x03"):
        raise ValueError("it is not TLS")
    if len(header) == 5 and not 0 < int.from_bytes(header[3:5], "big") <= _LARGEST_RECORD:
        raise ValueError("a TLS record has an impossible length")


def _is_complete(message: bytes) -> bool:
    """Whether these handshake bytes are a whole ClientHello; ValueError when they cannot become one."""
    if message and message[0] != _CLIENT_HELLO:
        raise ValueError("it does not begin with a ClientHello")
    if len(message) < 4:
        return False
    size = int.from_bytes(message[1:4], "big")
    if size > LARGEST_HELLO_BYTES:
        raise ValueError("its ClientHello is too long")
    if len(message) > 4 + size:
        raise ValueError("its first record holds more than a ClientHello")
    return len(message) == 4 + size


def _parse_body(body: _Reader) -> ClientHello:
    body.take(2 + 32)  # version, random
    body.vector(1)  # session id
    body.vector(2)  # cipher suites
    body.vector(1)  # compression methods
    extensions = _parse_extensions(body.vector(2)) if body.rest else {}
    body.expect_end()
    name = extensions.get(_SERVER_NAME)
    return ClientHello(
        server_name=None if name is None else _parse_server_name(name),
        encrypted_hello=_ENCRYPTED_CLIENT_HELLO in extensions,
    )


def _parse_extensions(block: bytes) -> dict[int, bytes]:
    extensions: dict[int, bytes] = {}
    at, end = 0, len(block)
    while at < end:
        if at + _EXTENSION.size > end:
            raise ValueError("it is shorter than it says")
        kind, size = _EXTENSION.unpack_from(block, at)
        begin = at + _EXTENSION.size
        at = begin + size
        if at > end:
            raise ValueError("it is shorter than it says")
        if kind in extensions:
            raise ValueError("an extension comes twice")
        extensions[kind] = block[begin:at]
    return extensions


def _parse_server_name(data: bytes) -> str:
    extension = _Reader(data)
    names = _Reader(extension.vector(2))
    extension.expect_end()
    if names.number(1) != _HOST_NAME:
        raise ValueError("its server name is not a host name")
    name = names.vector(2)
    names.expect_end()
    return name.decode("ascii")  # UnicodeDecodeError is a ValueError
