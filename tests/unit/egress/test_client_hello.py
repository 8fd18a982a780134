import itertools
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.egress.client_hello import LARGEST_HELLO_BYTES, ClientHello, parse_client_hello


def real_hello(server_name: str | None) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=server_name).do_handshake()
    return outgoing.read()


HELLO = real_hello("example.com")


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def made_hello(*extensions: tuple[int, bytes], tail: bytes = b"") -> bytes:
    block = b"".join(kind.to_bytes(2, "big") + vector(2, data) for kind, data in extensions)
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0") + vector(2, block)
    return record(b"\x01" + vector(3, body + tail))


def record(data: bytes) -> bytes:
    return b"\x16\x03\x01" + vector(2, data)


def server_name(name: bytes, kind: int = 0) -> tuple[int, bytes]:
    return 0, vector(2, bytes((kind,)) + vector(2, name))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "not TLS"),
        (b"\x16\x02\x01\x00\x05", "not TLS"),
        (b"\x80\x2e\x01", "not TLS"),
        (b"\x16\x03\x01\x00\x00", "impossible length"),
        (b"\x16\x03\x01\x40\x01", "impossible length"),
        (record(b"\x02\0\0\0"), "does not begin with a ClientHello"),
        (record(b"\x01" + (LARGEST_HELLO_BYTES + 1).to_bytes(3, "big")), "too long"),
        (record(HELLO[5:] + b"\x01"), "more than a ClientHello"),
        (made_hello(server_name(b"a.com"), server_name(b"b.com")), "comes twice"),
        (made_hello(server_name(b"a.com"), tail=b"\0"), "longer than it says"),
        (made_hello((0, b"\0\x08\0\0\x05a.com" + b"\0")), "longer than it says"),
        (made_hello((0, vector(2, b"\0" + vector(2, b"a.com") + b"\0" + vector(2, b"b.com")))), "longer than it says"),
        (made_hello((0, b"")), "shorter than it says"),
        (made_hello((0, vector(2, b"\0\0\xffa.com"))), "shorter than it says"),
        (made_hello(server_name(b"a.com", kind=1)), "not a host name"),
        (made_hello(server_name("ä.com".encode())), "ascii"),
    ],
)
def test_what_is_not_one_clear_hello_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_client_hello(data)


def test_a_hello_in_too_many_pieces_is_refused() -> None:
    with pytest.raises(ValueError, match="too many pieces"):
        parse_client_hello(b"".join(record(HELLO[at : at + 1]) for at in range(5, len(HELLO))))


def test_the_server_name_is_read() -> None:
    assert parse_client_hello(HELLO) == ClientHello(server_name="example.com", encrypted_hello=False)
    assert parse_client_hello(made_hello(server_name(b"a.com"))) is not None


def test_a_hello_without_a_server_name_says_so() -> None:
    assert parse_client_hello(real_hello(None)) == ClientHello(server_name=None, encrypted_hello=False)


def test_an_encrypted_hello_is_seen() -> None:
    hello = parse_client_hello(made_hello(server_name(b"a.com"), (0xFE0D, b"\0")))
    assert hello == ClientHello(server_name="a.com", encrypted_hello=True)


@given(st.integers(0, len(HELLO) - 1))
def test_a_part_of_a_hello_needs_more(size: int) -> None:
    assert parse_client_hello(HELLO[:size]) is None


@given(st.lists(st.integers(1, len(HELLO) - 6), unique=True, max_size=8))
def test_a_hello_may_be_spread_over_records(cuts: list[int]) -> None:
    message = HELLO[5:]
    edges = [0, *sorted(cuts), len(message)]
    data = b"".join(record(message[start:end]) for start, end in itertools.pairwise(edges))
    assert parse_client_hello(data + b"\x14\x03\x03\x00\x01\x01") == parse_client_hello(HELLO)


@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    try:
        parse_client_hello(data)
    except ValueError:
        return


@given(st.integers(5, len(HELLO) - 1), st.integers(0, 255))
def test_a_changed_hello_names_the_same_server_or_is_refused_or_another(position: int, value: int) -> None:
    data = bytearray(HELLO)
    data[position] = value
    try:
        hello = parse_client_hello(bytes(data))
    except ValueError:
        return
    assert hello is None or hello.server_name is None or hello.server_name.isascii()
