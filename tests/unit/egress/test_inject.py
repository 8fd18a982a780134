"""A value goes into its grant's place, of its grant's requests, and nowhere else."""

from base64 import b64encode
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloister.egress.inject import Broker, LeakError, plain_path
from cloister.egress.request import Authority, Request
from cloister.model.broker import placeholder_of
from cloister.model.secret import Grant, SecretValue

VALUE = "ghp-0123456789abcdef"
MARK = placeholder_of("GH_PAT", "t-1")
OTHER_MARK = placeholder_of("OTHER", "t-1")
GRANT = Grant(
    name="GH_PAT",
    value=SecretValue(VALUE),
    placeholder=MARK,
    hosts=("api.github.com",),
    header="Authorization",
    format="Bearer {}",
    methods=("GET", "POST"),
    paths=("/repos/me", "/user"),
)
OTHER = Grant(name="OTHER", value=SecretValue("other-0123456789"), placeholder=OTHER_MARK, hosts=("other.org",))
QUERY = replace(GRANT, header="", format="{}", query="key")


def request(
    target: str = "/repos/me/x", *, host: str = "api.github.com", method: str = "GET", **headers: str
) -> Request:
    return Request(
        method=method,
        authority=Authority(host, 443),
        target=target,
        headers=tuple((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
        chunked=False,
    )


def sent(request: Request) -> str:
    return f"{request.method} {request.target} {request.headers!r}"


# Refusals


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"host": "evil.example"}, "the header Authorization"),
        ({"host": "github.com"}, "the header Authorization"),
        ({"host": "evilapi.github.com"}, "the header Authorization"),
        ({"method": "DELETE"}, "the header Authorization"),
        ({"X_HTTP_Method_Override": "DELETE"}, "the header Authorization"),
        ({"target": "/"}, "the header Authorization"),
        ({"target": "/repos/melon"}, "the header Authorization"),
        ({"target": "/repos/me/../you"}, "the header Authorization"),
        ({"target": "/repos/me/%2e%2e/you"}, "the header Authorization"),
        ({"target": "/repos/me/.%2E/you"}, "the header Authorization"),
        ({"target": "/repos/me/..;/you"}, "the header Authorization"),
        ({"target": "/repos/me%2f..%2fyou"}, "the header Authorization"),
        ({"target": "/repos/me/..%5cyou"}, "the header Authorization"),
        ({"target": "/repos/me/%252e%252e/you"}, "the header Authorization"),
        ({"target": "/repos//me"}, "the header Authorization"),
        ({"target": "/repos/me//x"}, "the header Authorization"),
        ({"target": "/x?/repos/me"}, "the header Authorization"),
        ({"X_Other": MARK}, "the header X-Other"),
        ({"Cookie": f"session={MARK}"}, "the header Cookie"),
        ({"Authorization": "none", "Referer": f"https://x/?{MARK}"}, "the header Referer"),
        ({"X_Other": b64encode(f"me:{MARK}".encode()).decode()}, "the header X-Other"),
        ({"X_Other": f"Basic {b64encode(MARK.encode()).decode()}"}, "the header X-Other"),
        ({"target": f"/repos/me/{MARK}"}, "the path or the query"),
        ({"target": f"/repos/me/%63{MARK[1:]}"}, "the path or the query"),
        ({"target": f"/repos/me?key={MARK}"}, "the path or the query"),
        ({"Authorization": f"Bearer {OTHER_MARK}"}, "the header authorization"),
    ],
)
def test_a_placeholder_anywhere_else_is_a_leak(changes: dict[str, Any], where: str) -> None:
    wrong = request(**{"Authorization": f"Bearer {MARK}", **changes})
    with pytest.raises(LeakError) as leak:
        Broker([GRANT, OTHER]).inject(wrong, secure=True)
    assert where in str(leak.value)
    assert VALUE not in str(leak.value)


@pytest.mark.parametrize("grant", [GRANT, QUERY])
def test_what_is_not_verified_gets_no_value(grant: Grant) -> None:
    with pytest.raises(LeakError):
        Broker([grant]).inject(request(f"/user?key={MARK}", Authorization=MARK), secure=False)
    assert VALUE not in sent(Broker([grant]).inject(request("/user"), secure=False))


def test_a_door_and_what_did_not_come_through_it_have_nothing_in_common() -> None:
    behind = replace(GRANT, door=8001, upstream="https://api.github.com")
    for broker, door in ((Broker([behind]), None), (Broker([behind]), 8002), (Broker([GRANT]), 8001)):
        assert VALUE not in sent(broker.inject(request(), secure=True, door=door))
        with pytest.raises(LeakError):
            broker.inject(request(Authorization=MARK), secure=True, door=door)
    assert VALUE in sent(Broker([behind]).inject(request(), secure=True, door=8001))
    assert not Broker([behind]).must_read("api.github.com")


hosts = st.sampled_from(["api.github.com", "eu.api.github.com", "github.com", "evil.example", "xapi.github.com"])
methods = st.sampled_from(["GET", "POST", "DELETE", "PUT", "get"])
segments = st.sampled_from(
    ["repos", "me", "user", "..", ".", "", "%2e%2e", "%2f", "me%2Fyou", "..;x", "%25", "\\", "x"]
)
paths = st.lists(segments, max_size=5).map(lambda parts: "/" + "/".join(parts))
texts = st.sampled_from(["x", MARK, f"Bearer {MARK}", f"token {MARK}", quote(MARK), VALUE[:4]])
headers = st.dictionaries(st.sampled_from(["Authorization", "X_Other", "Cookie"]), texts)
overrides = st.sampled_from([{}, {"X_HTTP_Method_Override": "DELETE"}, {"X_HTTP_Method_Override": "GET"}])


@settings(deadline=None)
@given(hosts, methods, paths, headers, overrides, st.booleans(), st.sampled_from([GRANT, QUERY]))
def test_a_value_never_leaves_unless_host_tls_method_and_path_fit(
    host: str, method: str, path: str, headers: dict[str, str], override: dict[str, str], secure: bool, grant: Grant
) -> None:
    asked = request(path, host=host, method=method, **headers, **override)
    try:
        injected = Broker([grant]).inject(asked, secure=secure)
    except LeakError:
        return
    assert MARK not in sent(injected)
    if VALUE in sent(injected):
        assert secure
        assert host in ("api.github.com", "eu.api.github.com")
        assert method in ("GET", "POST") and override.get("X_HTTP_Method_Override") != "DELETE"
        assert path.startswith(("/repos/me", "/user")) and path.split("/")[1] in ("repos", "user")
        assert not any(trick in path for trick in ("..", "%", "//", "\\", "/./"))
        assert sent(injected).count(VALUE) == 1


# What fits


@pytest.mark.parametrize("client", [{}, {"Authorization": f"token {MARK}"}, {"authorization": "Basic bWU6b3duCg=="}])
def test_a_request_that_fits_has_the_value_in_the_grants_form_whatever_its_client_says(client: dict[str, str]) -> None:
    injected = Broker([GRANT]).inject(request(**client), secure=True)
    assert [value for name, value in injected.headers if name.lower() == b"authorization"] == [
        f"Bearer {VALUE}".encode()
    ]


def test_two_headers_of_that_name_become_one() -> None:
    asked = request()
    asked = replace(asked, headers=((b"Authorization", b"a"), (b"AUTHORIZATION", MARK.encode())))
    assert sent(Broker([GRANT]).inject(asked, secure=True)).lower().count("authorization") == 1


def test_a_password_is_sent_as_basic_credentials() -> None:
    grant = replace(GRANT, format="basic:me")
    asked = request(Authorization="Basic " + b64encode(f"x:{MARK}".encode()).decode())
    assert (b"Authorization", b"Basic " + b64encode(f"me:{VALUE}".encode())) in Broker([grant]).inject(
        asked, secure=True
    ).headers


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/user", "/user?key=a%26b%3Dc+d%2F"),
        (f"/user?key={MARK}", "/user?key=a%26b%3Dc+d%2F"),
        (f"/user?a=1&%6bey=own&key={MARK}&b=2", "/user?a=1&b=2&key=a%26b%3Dc+d%2F"),
    ],
)
def test_a_query_parameter_is_replaced_or_added_and_encoded(target: str, expected: str) -> None:
    grant = replace(QUERY, value=SecretValue("a&b=c d/"))
    injected = Broker([grant]).inject(request(target), secure=True)
    assert injected.target == expected.replace("+", "%20")


@pytest.mark.parametrize(
    "path", ["/repos/me", "/repos/me/", "/repos/%6de/x", "/repos/me/a.b/c~d", "/user?x=/../", "/user"]
)
def test_a_path_is_compared_as_the_server_reads_it(path: str) -> None:
    assert VALUE in sent(Broker([GRANT]).inject(request(path), secure=True))


def test_a_placeholder_chooses_among_grants_for_one_place() -> None:
    second = replace(GRANT, name="SECOND", value=SecretValue("second-0123"), placeholder=placeholder_of("SECOND", "t"))
    both = Broker([GRANT, second])
    assert VALUE in sent(both.inject(request(), secure=True))
    assert VALUE in sent(both.inject(request(Authorization=MARK), secure=True))
    assert "second-0123" in sent(both.inject(request(Authorization=second.placeholder), secure=True))


def test_a_granted_host_is_asked_for_plain_text_also_where_no_value_goes() -> None:
    asked = request("/public", Accept_Encoding="gzip", Range="bytes=3-9", Accept="x")
    names = {name.lower(): value for name, value in Broker([GRANT]).inject(asked, secure=True).headers}
    assert names == {b"accept": b"x", b"accept-encoding": b"identity"}
    elsewhere = replace(asked, authority=Authority("example.com", 443))
    assert Broker([GRANT]).inject(elsewhere, secure=True) == elsewhere


def test_only_granted_hosts_are_read_and_masked() -> None:
    broker = Broker([GRANT])
    assert broker.must_read("api.github.com") and broker.must_read("eu.api.github.com")
    assert not broker.must_read("github.com")
    assert broker.masker("github.com", None) is None
    masker = broker.masker("api.github.com", None)
    assert masker is not None
    assert masker.feed(f"<{VALUE}>".encode()) + masker.flush() == b"<[secret GH_PAT]>"


@settings(deadline=None)
@given(st.text(alphabet="/.%2eEfF5cC;\\ab#?~", max_size=12))
def test_a_plain_path_has_one_reading(text: str) -> None:
    path = plain_path("/" + text)
    if path is not None:
        assert path.startswith("/") and "//" not in path and "%" not in path and "\\" not in path
        assert not {".", ".."} & set(path.split("/"))
