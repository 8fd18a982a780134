"""Addresses behind ssh: which are refused, and that git reads those that are not as we do."""

import os
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloister.model.ssh_address import SshAddress, is_short_form, parse_ssh_address

RECORD = '#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done >"$RECORDED"\nexit 1\n'


@pytest.mark.parametrize(
    "address",
    [
        "ssh://-oProxyCommand=touch$IFS/tmp/canary/x",
        "ssh://git@-oProxyCommand=x/x",
        "ssh://-oProxyCommand=x@host/x",
        "ssh://%2doProxyCommand=x/x",
        "ssh://host%0a/x",
        "ssh://ho`touch canary`st/x",
        "ssh://$(touch${IFS}canary)/x",
        "ssh://host;id/x",
        "ssh://%h/x",
        "ssh://git:password@host/x",
        "ssh://a@b@host/x",
        "ssh://host:-1/x",
        "ssh://host:0/x",
        "ssh://host:65536/x",
        "ssh://host:22x/x",
        "ssh://host:²/x",
        "ssh://host:/x",
        "ssh://[::1/x",
        "ssh://[host]/x",
        "ssh://[::1%25lo]/x",
        "ssh://[-oProxyCommand=x]/x",
        "ssh://host",
        "ssh://host/",
        "ssh:///x",
        "ssh://host/a%0ab",
        "SSH://-x/y",
        "-oProxyCommand=x:y",
        "-git@host:x",
        "git@-host:x",
        "host:-x",
        "host:",
        ":x",
        "@host:x",
        "a b@host:x",
        "git@[::1%lo]:x",
        "git@[-x]:x",
        "git@[host:2222]:x",
        "host:a\nb",
        "file:x",
        "ext:x",
        "HTTP:x",
        "ssh:x",
        "höst:x",
    ],
)
def test_what_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_ssh_address(address)


@pytest.mark.parametrize(
    "text", ["", "/srv/x", "./a:b", "../a:b", "a/b:c", "project", "ext::sh -c x", "https://host/x", "git://host:1/x"]
)
def test_what_is_not_behind_ssh(text: str) -> None:
    assert not is_short_form(text)
    assert parse_ssh_address(text) is None


@pytest.mark.parametrize(
    ("address", "user", "host", "port", "path"),
    [
        ("ssh://host/x", None, "host", None, "/x"),
        ("ssh://git@example.com:2222/srv/a.git", "git", "example.com", 2222, "/srv/a.git"),
        ("ssh://git@[::1]:2222/~/a", "git", "::1", 2222, "/~/a"),
        ("git@github.com:owner/project.git", "git", "github.com", None, "owner/project.git"),
        ("work:a", None, "work", None, "a"),
        ("git@host:/srv/a", "git", "host", None, "/srv/a"),
        ("git@host:~other/a", "git", "host", None, "~other/a"),
        ("git@[::1]:a", "git", "::1", None, "a"),
        ("a_b.c+d-e@under_score:it's", "a_b.c+d-e", "under_score", None, "it's"),
        ("git@host:2222/a", "git", "host", None, "2222/a"),
    ],
)
def test_what_is_read(address: str, user: str | None, host: str, port: int | None, path: str) -> None:
    assert parse_ssh_address(address) == SshAddress(user=user, host=host, port=port, path=path)


def test_a_login_is_what_a_person_types() -> None:
    address = parse_ssh_address("ssh://git@host:2222/x")
    assert address is not None
    assert address.login == "-p 2222 git@host"


_PIECE = st.sampled_from(
    ["git", "a.b", "-x", "1", "_", "~", "%2d", "%41", "'", '"', "$(id)", "\\", "!", "é", "..", "+"]
)
_NAME = st.lists(_PIECE, min_size=1, max_size=2).map("".join)
_HOSTS = st.one_of(_NAME, st.sampled_from(["host", "10.0.0.1", "[::1]", "[fe80::1]"]))
_USERS = st.one_of(st.just(""), _NAME.map(lambda name: f"{name}@"))
_PATHS = st.lists(st.one_of(_NAME, st.sampled_from(["", "a", "b:c"])), min_size=1, max_size=3).map("/".join)
_PORTS = st.sampled_from(["", ":22", ":022", ":2222"])
ADDRESSES = st.one_of(
    st.builds("ssh://{}{}{}/{}".format, _USERS, _HOSTS, _PORTS, _PATHS),
    st.builds("{}{}:{}".format, _USERS, _HOSTS, _PATHS),
)


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that git takes for ssh."""
    program = tmp_path_factory.mktemp("ssh") / "recorder"
    program.write_text(RECORD)
    program.chmod(0o755)
    return program


def _asked_of_ssh(recorder: Path, address: str) -> list[str]:
    recorded = recorder.with_name("recorded")
    recorded.unlink(missing_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "RECORDED": str(recorded),
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": "/nonexistent",
        "GIT_SSH_COMMAND": str(recorder),
        "GIT_SSH_VARIANT": "ssh",
        "GIT_PROTOCOL": "version=0",
    }
    command = ["git", "-c", "protocol.version=0", "ls-remote", "--", address]
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False)
    assert recorded.exists(), done.stderr
    return recorded.read_bytes().decode().split("\0")[:-1]


def _quoted(path: str) -> str:
    return "'" + path.replace("'", "'\\''").replace("!", "'\\!'") + "'"


@settings(max_examples=150, deadline=None)
@example("host:1~")
@given(ADDRESSES)
def test_git_asks_ssh_for_what_was_read(recorder: Path, address: str) -> None:
    try:
        read = parse_ssh_address(address)
    except ValueError:
        return
    if read is None:
        return  # host://x is a URL
    path = unquote(read.path) if address.startswith("ssh://") else read.path
    path = path.removeprefix("/") if path.startswith("/~") else path
    login = read.host if read.user is None else f"{read.user}@{read.host}"
    port = [] if read.port is None else ["-p", str(read.port)]
    asked = _asked_of_ssh(recorder, address)
    assert [word.lstrip("0") for word in asked[:-2]] == port
    assert asked[-2:] == [login, f"git-upload-pack {_quoted(path)}"]
