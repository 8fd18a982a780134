import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import UsageError
from cloister.repository_address import parse_repository


@pytest.mark.parametrize(
    "address",
    [
        "",
        "project",
        "./project",
        "-oProxyCommand=touch /tmp/x",
        "--upload-pack=x",
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "ssh://git:hunter2@host/x",
        "ssh://host/x?a=b c",
        "git@host:a\nb",
        "-git@host:a",
        "git://host/x",
        "ftp://host/x",
        "http:///x",
        "https://-x/y",
        "https://user@host/x",
        "https://user:token@host/x",
        "https://host/x y",
        "https://host/x\n",
        "https://host/x?a=b",
        "https://host/x#a",
        "https://host:0/x",
        "https://host:99999/x",
        "https://[::1/x",
        "file://host/x",
        "file:x",
        "/srv/a\nb",
        "/srv/a\x00b",
        "/" + "a" * 3000,
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(UsageError):
        parse_repository(address)


def test_a_refusal_shows_no_credential() -> None:
    for scheme in ("https", "ssh"):
        with pytest.raises(UsageError) as caught:
            parse_repository(f"{scheme}://user:hunter2@host/x")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "canonical", "directory"),
    [
        ("/srv/project", "/srv/project", "project"),
        ("/srv/project/", "/srv/project", "project"),
        ("/srv/project.git", "/srv/project.git", "project"),
        ("/srv/project/.git", "/srv/project/.git", "project"),
        ("/srv/my project", "/srv/my project", "my-project"),
        ("/", "/", "repository"),
        ("file:///srv/a.git", "file:///srv/a.git", "a"),
        ("https://host/a/b.git", "https://host/a/b.git", "b"),
        ("https://host/a/b/", "https://host/a/b", "b"),
        ("http://127.0.0.1:8080/a%2fb", "http://127.0.0.1:8080/a%2fb", "b"),
        ("https://host/..", "https://host/..", "repository"),
        ("https://host", "https://host", "repository"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git", "b"),
        ("work:b/", "work:b", "b"),
        ("work:~", "work:~", "repository"),
        ("ssh://git@[::1]:2222/srv/a%20b.git/", "ssh://git@[::1]:2222/srv/a%20b.git", "a-b"),
    ],
)
def test_addresses(address: str, canonical: str, directory: str) -> None:
    repository = parse_repository(address)
    assert (repository.address, repository.directory) == (canonical, directory)


@given(st.text())
def test_a_directory_needs_no_quoting(path: str) -> None:
    try:
        directory = parse_repository("/" + path).directory
    except UsageError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", directory)
