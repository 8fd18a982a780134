import socket
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloister.model.network import host_matches, parse_domain, parse_host

LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a..b", ".a", "a b", "a_b.com", "-a.com", "a-.com", "a.com..", "a" * 64 + ".com"),
        *("a." * 127 + "com", "a\0.com", "a.com\n", "a.com\r\n", "a\t.com", "a%2e.com", "a@b.com", "a#b.com"),
        *("a\\b.com", "a/b.com", "a:80", "*.a.com", "[::1]", "::1", "fe80::1%lo", "ä.com", "a。com", "\u2170.com"),
        *("127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "0", "a.0x", "1.2.3.4."),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("example.com", "example.com"),
        ("EXAMPLE.Com.", "example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a-b.1a.com", "a-b.1a.com"),
        ("1.2.3.com", "1.2.3.com"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_has_one_form(text: str, host: str) -> None:
    assert parse_host(text) == host


@given(st.text(alphabet=string.printable + "\0ä\u2170。", max_size=40))
@example("0x7f.1")
@example("127.1")
def test_no_host_is_read_as_an_address(text: str) -> None:
    try:
        host = parse_host(text)
    except ValueError:
        return
    assert parse_host(host) == host
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(host, 80, flags=socket.AI_NUMERICHOST)


@given(HOSTS, HOSTS)
def test_a_domain_matches_itself_and_what_ends_in_a_dot_and_it(host: str, domain: str) -> None:
    expected = host.split(".")[-len(domain.split(".")) :] == domain.split(".")
    assert (host_matches(host, [domain]) == domain) == expected


@given(HOSTS, HOSTS)
def test_a_prefix_without_a_dot_is_a_neighbour(prefix: str, domain: str) -> None:
    assert host_matches(prefix + domain, [domain]) is None
    assert host_matches(f"{prefix}.{domain}", [domain]) == domain


def test_no_domain_matches_nothing() -> None:
    assert host_matches("example.com", []) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("*", "patterns are not domains"),
        ("*.example.com", "patterns are not domains"),
        ("com", "too broad"),
        ("localhost", "too broad"),
        ("10.0.0.1", "could be read as an address"),
        ("::1", "addresses cannot be listed"),
        ("[::1]", "addresses cannot be listed"),
        ("10.0.0.0/8", "host name alone"),
        ("example.com:443", "without a port"),
        ("https://example.com", "host name alone"),
        ("example.com/", "host name alone"),
        ("me@example.com", "host name alone"),
        ("bücher.example", "begins with xn--"),
        (".example.com", "labels are"),
        ("", "1 to 253"),
    ],
)
def test_an_entry_that_is_no_domain_is_refused_with_what_to_write(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_domain(text)


def test_a_domain_is_canonical() -> None:
    assert parse_domain("Example.COM.") == "example.com"
