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
_BODY_AT = 4
"""Behind the message's kind and length."""
_EXTENSION = struct.Struct(">HH").unpack_from
"""Kind and size; that many bytes follow. Hellos have a score of them, and padding is one too."""
_TOO_SHORT = "it is shorter than it says"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientHello:
    """What a client says before anything is encrypted."""

    server_name: str | None
    """As sent; None when there is none."""
    encrypted_hello: bool
    """Whether it holds an encrypted ClientHello, real or not (RFC 9849 lets clients pretend)."""


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
    return _parse_body(message) if _is_complete(message) else None


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


def _parse_body(message: bytes) -> ClientHello:
    at = _BODY_AT + 2 + 32  # version, random
    at = _vector_end(message, at, 1)  # session id
    at = _vector_end(message, at, 2)  # cipher suites
    at = _vector_end(message, at, 1)  # compression methods
    extensions = {}
    if at < len(message):
        end = _vector_end(message, at, 2)
        extensions = _parse_extensions(message[at + 2 : end])
        at = end
    _expect_end(message, at)
    name = extensions.get(_SERVER_NAME)
    return ClientHello(
        server_name=None if name is None else _parse_server_name(name),
        encrypted_hello=_ENCRYPTED_CLIENT_HELLO in extensions,
    )


def _vector_end(data: bytes, at: int, size: int) -> int:
    """Return where the bytes end that follow a length of `size` bytes. ValueError when there are too few."""
    begin = at + size
    end = begin + int.from_bytes(data[at:begin], "big")
    if end > len(data):
        raise ValueError(_TOO_SHORT)
    return end


def _expect_end(data: bytes, at: int) -> None:
    if at < len(data):
        raise ValueError("it is longer than it says")


def _parse_extensions(block: bytes) -> dict[int, bytes]:
    extensions: dict[int, bytes] = {}
    at, end = 0, len(block)
    try:
        while at < end:
            kind, size = _EXTENSION(block, at)
            begin, at = at + 4, at + 4 + size
            if kind in extensions:
                raise ValueError("an extension comes twice")
            extensions[kind] = block[begin:at]
    except struct.error as error:
        raise ValueError(_TOO_SHORT) from error
    if at > end:
        raise ValueError(_TOO_SHORT)
    return extensions


def _parse_server_name(data: bytes) -> str:
    """Return the one name of a list of names, of the one kind that there is."""
    _expect_end(data, _vector_end(data, 0, 2))
    if len(data) < 3:
        raise ValueError(_TOO_SHORT)
    if data[2] != _HOST_NAME:
        raise ValueError("its server name is not a host name")
    _expect_end(data, _vector_end(data, 3, 2))
    return data[5:].decode("ascii")  # UnicodeDecodeError is a ValueError
