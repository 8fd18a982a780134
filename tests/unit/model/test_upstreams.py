import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.model.secret import SecretValue
from cloister.model.upstreams import (
    UpstreamProxy,
    Upstreams,
    is_never_public,
    parse_direct_hosts,
    parse_given_address,
    parse_upstream_proxy,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy:3128",
        "https://u:hush@proxy:3128",
        "socks5://u:hush@proxy:1080",
        "http://u:hush@proxy",
        "http://u:hush@proxy:0",
        "http://u:hush@proxy:99999",
        "http://u:hush@proxy:x",
        "http://u:hush@proxy:3128/path",
        "http://u:hush@proxy:3128?query",
        "http://u:hush@@proxy:3128",
        "http://u:hush/x@proxy:3128",
        "http://u:hush#x@proxy:3128",
        "http://u:hush@pro_xy:3128",
        "http://u:hush@[::1:3128",
        "http://u:hush%0d%0aX@proxy:3128",
        "http://u:hush%00@proxy:3128",
        "http://u:hush%ff@proxy:3128",
        "http://u%3a:hush@proxy:3128",
        "http://:3128",
    ],
)
def test_a_wrong_proxy_is_refused_without_showing_any_of_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|has)") as caught:
        parse_upstream_proxy(text)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "host", "port", "credentials"),
    [
        ("http://proxy:3128", "proxy", 3128, None),
        ("http://Proxy.Corp.Example.:3128/", "proxy.corp.example", 3128, None),
        ("http://u:p@10.0.0.1:8080", "10.0.0.1", 8080, "u:p"),
        ("http://u@[fd00:0::1]:8080", "fd00::1", 8080, "u:"),
        ("http://corp%5Cu:p%40%3A%2F%25@proxy:1", "proxy", 1, "corp\\u:p@:/%"),
        ("http://u:a:b@proxy:1", "proxy", 1, "u:a:b"),
        ("http://u:%C3%A9@proxy:1", "proxy", 1, "u:é"),
    ],
)
def test_reads_a_proxy(text: str, host: str, port: int, credentials: str | None) -> None:
    proxy = parse_upstream_proxy(text)
    assert (proxy.host, proxy.port) == (host, port)
    assert (proxy.credentials.reveal() if proxy.credentials else None) == credentials
    assert "u:" not in f"{proxy} {proxy!r}"


@given(st.text())
def test_no_text_is_anything_but_a_proxy_or_a_value_error(text: str) -> None:
    for whole in (text, f"http://u:{text}@proxy:1", f"http://{text}"):
        try:
            parse_upstream_proxy(whole)
        except ValueError as error:
            assert str(error).isascii()


@pytest.mark.parametrize(
    "text", ["", ".", "*.", "a_b.example", "10.0.0.1/8", "10.0.0.0/33", "x:0", "x:y", "http://x/", "a b"]
)
def test_a_wrong_entry_of_no_proxy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_direct_hosts(text)


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("corp.example", ["corp.example:80", "git.corp.example:443"], ["mycorp.example:80", "corp.example.org:80"]),
        (".corp.example", ["corp.example:80", "git.corp.example:443"], ["mycorp.example:80"]),
        ("*.Corp.example.", ["git.corp.example:443"], ["example:80"]),
        ("corp.example:8080", ["git.corp.example:8080"], ["git.corp.example:80"]),
        ("intranet", ["intranet:80"], ["example.com:80"]),
        ("10.0.0.0/8", ["10.1.2.3:80"], ["11.0.0.1:80", "10.example:80", "fd00::1:80"]),
        ("10.0.0.1", ["10.0.0.1:80"], ["10.0.0.2:80"]),
        ("10.0.0.1:81", ["10.0.0.1:81"], ["10.0.0.1:80"]),
        ("fd00::/8", ["fd00::1:80"], ["fe80::1:80", "10.0.0.1:80"]),
        ("[fd00::1]:81", ["fd00::1:81"], ["fd00::1:80"]),
        ("*", ["example.com:443", "10.0.0.1:80"], []),
    ],
)
def test_no_proxy_holds_what_it_says(entry: str, inside: list[str], outside: list[str]) -> None:
    hosts = parse_direct_hosts(entry)
    assert parse_direct_hosts(str(hosts)) == hosts
    upstreams = Upstreams(proxy=UpstreamProxy(host="proxy", port=1), direct=(hosts,))
    for authority in inside + outside:
        host, _, port = authority.rpartition(":")
        assert (upstreams.proxy_for(host, int(port)) is None) == (authority in inside), authority


@pytest.mark.parametrize(
    "text", ["", "git.example", "10.0.0", "10.0.0.5:0", "10.0.0.5:65536", "fd00::5:x", "10.0.0.0/8", "fe80::1%eth0"]
)
def test_a_wrong_given_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_given_address(text)


@pytest.mark.parametrize("text", ["10.0.0.5", "10.0.0.5:8443", "fd00::5", "[fd00::5]:8443"])
def test_a_given_address_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_given_address(text)) == text


def test_a_host_with_a_given_address_is_reached_without_the_proxy() -> None:
    proxy = UpstreamProxy(host="proxy", port=1, credentials=SecretValue("u:p"))
    upstreams = Upstreams(proxy=proxy, addresses={"git.example": parse_given_address("10.0.0.5")})
    assert upstreams.proxy_for("git.example", 443) is None
    assert upstreams.proxy_for("sub.git.example", 443) == proxy


@pytest.mark.parametrize(
    ("host", "never"),
    [
        ("example.com", False),
        ("internal.example.com", False),
        ("a.internal", True),
        ("intranet", True),
        ("a.svc", True),
    ],
)
def test_names_that_are_never_public(host: str, *, never: bool) -> None:
    assert is_never_public(host) is never
