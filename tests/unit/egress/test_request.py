import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.egress.addresses import is_address
from cloister.egress.request import Authority, MalformedError, Request, end_to_end, parse_authority, parse_request

INSIDE = Authority("example.com", 80)


def parse(head: str, inside: Authority | None = None) -> Request:
    return parse_request(h11.Connection(h11.SERVER), head.encode("latin-1"), inside=inside)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "example.com", "example.com:", ":80", "example.com:0", "example.com:65536", "example.com:+1"),
        *("example.com:8 0", "example.com:٨٠", "example.com:000080", "a:b:80", "[::1", "[::1]80", "[::1]:", "::1:80"),
        *("[example.com]:80", "[127.0.0.1]:80", "[::1%25lo]:80", "[fe80::1%lo]:80", "127.1:80", "0x7f.1:80"),
    ],
)
def test_what_is_no_authority_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_authority(text)


@pytest.mark.parametrize(
    ("text", "host", "port", "address"),
    [
        ("Example.COM.:443", "example.com", 443, False),
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("[2606:4700:0::1]:80", "2606:4700::1", 80, True),
        ("[::FFFF:127.0.0.1]:80", str(parse_authority("[::ffff:7f00:1]:80").host), 80, True),
        ("1a.b2:80", "1a.b2", 80, False),
    ],
)
def test_an_authority_has_one_form(text: str, host: str, port: int, address: bool) -> None:
    authority = parse_authority(text)
    assert (authority.host, authority.port, is_address(authority.host)) == (host, port, address)
    assert parse_authority(str(authority)) == authority


def test_a_port_may_have_a_default() -> None:
    assert parse_authority("example.com", default_port=80) == INSIDE
    assert parse_authority("[::1]", default_port=80) == Authority("::1", 80)


@given(st.text(max_size=30))
def test_an_authority_that_is_read_is_read_again_the_same(text: str) -> None:
    try:
        authority = parse_authority(text, default_port=80)
    except ValueError:
        return
    assert parse_authority(str(authority)) == authority


@pytest.mark.parametrize(
    ("uri", "authority", "target"),
    [
        ("http://example.com", INSIDE, "/"),
        ("HTTP://example.com/a?b", INSIDE, "/a?b"),
        ("http://example.com?q=http://other.org/", INSIDE, "/?q=http://other.org/"),
        ("http://example.com:8080//a@b", Authority("example.com", 8080), "//a@b"),
    ],
)
def test_an_absolute_form_is_taken_apart(uri: str, authority: Authority, target: str) -> None:
    request = parse(f"GET {uri} HTTP/1.1\r\nHost: {authority}\r\n\r\n")
    assert (request.authority, request.target) == (authority, target)


def test_a_request_of_http_1_0_needs_no_host() -> None:
    assert parse("CONNECT example.com:443 HTTP/1.0\r\n\r\n").authority == Authority("example.com", 443)


@pytest.mark.parametrize("target", ["*", "http://example.com/", "example.com:80", "a/b"])
def test_inside_a_tunnel_a_request_names_a_path(target: str) -> None:
    with pytest.raises(MalformedError):
        parse(f"GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n", INSIDE)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    for head in (data + b"\r\n\r\n", b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n" + data + b"\r\n\r\n"):
        try:
            request = parse_request(h11.Connection(h11.SERVER), head, inside=None)
        except MalformedError:
            continue
        assert not any(byte in value for _, value in request.headers for byte in (b"\r", b"\n", b"\0"))


def test_a_hop_cannot_strip_what_frames_the_request() -> None:
    headers = [(b"Connection", b"Host, content-length, x-a"), (b"Host", b"h"), (b"Content-Length", b"1"), (b"X-A", b"")]
    assert end_to_end(headers) == ((b"Host", b"h"), (b"Content-Length", b"1"))


def test_headers_that_override_the_method_are_found() -> None:
    request = parse("GET http://a.com/ HTTP/1.1\r\nHost: a.com\r\nx-http-method-OVERRIDE: DELETE\r\n\r\n")
    assert request.overriding_methods == ("DELETE",)


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("example.com", True),
        ("example.com:443", True),
        ("localhost:443", True),
        ("example.com:80", False),
        ("other.org", False),
        ("localhost:80", False),
    ],
)
def test_inside_tls_the_port_of_https_may_be_left_out(host: str, fits: bool) -> None:
    def parse_inside() -> Request:
        return parse_request(
            h11.Connection(h11.SERVER),
            f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
            inside=Authority("example.com", 443),
            also_named=(Authority("localhost", 443),),
            default_port=443,
        )

    if fits:
        assert parse_inside().authority == Authority("example.com", 443)
    else:
        with pytest.raises(MalformedError, match="Host is not"):
            parse_inside()
