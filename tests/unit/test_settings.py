import ipaddress
import os
from pathlib import Path

import pytest

from cloister.errors import UsageError
from cloister.model.ceiling import Ceiling
from cloister.settings import Settings
from cloister.settings_files import load_settings


@pytest.fixture(autouse=True)
def clean_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("CLOISTER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def load(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "cloister.toml"
    path.write_text(text)
    return load_settings(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slots = \n", "cloister.toml, line 1, column 9: not TOML"),
        ('\nstat = "/x"\n', "cloister.toml, line 2: unknown key `stat`; did you mean `state`?"),
        ("[gitlab]\nsecret = 1\n", "cloister.toml, line 1: unknown key `gitlab`"),
        ("[github]\nsecret = 1\n", "cloister.toml, line 2: unknown key `github.secret`"),
        ("slots = 0\n", "cloister.toml, line 1: `slots`: must be greater than or equal to 1; for example `slots = 4`"),
        ('slots = "many"\n', "`slots`: must be an integer"),
        ("egress_uid = 0\n", "`egress_uid`"),
        ('runtime = ""\n', "`runtime`"),
        ('log_level = "loud"\n', "`log_level`: must be 'debug', 'info', 'warning' or 'error'"),
        ('allow_private = ["10.0.0.0/33"]\n', "`allow_private`: '10.0.0.0/33' does not appear to be"),
        ('allow_private = ["10.0.0.1/8"]\n', "`allow_private`: 10.0.0.1/8 has host bits set"),
        ('network_agent = "some"\n', "`network_agent`"),
        ('network_allow = ["*"]\n', "patterns are not domains"),
        ('network_allow = ["github.io"]\n', "too broad"),
        ('network_deny = ["a_b.example"]\n', "is not a host name"),
        ('network_methods = ["get"]\n', "not an HTTP method in capitals"),
        ("network_ports = [0]\n", "ports from 1 to 65535"),
        ('metrics_listen = "0.0.0.0:9464"\n', "set metrics_remote = true"),
        ('metrics_listen = "[::]:9464"\n', "set metrics_remote = true"),
        ('metrics_listen = "192.0.2.1:9464"\nmetrics_remote = false\n', "set metrics_remote = true"),
        ('metrics_listen = "localhost:9464"\n', "must be an address and a port; for example"),
        ('metrics_listen = "127.0.0.1"\n', "must be an address and a port"),
        ('metrics_listen = "::1:9464"\n', "stands in brackets"),
        ('metrics_listen = "127.0.0.1:0"\n', "ports from 1 to 65535"),
        ("allow_private = 3\n", "`allow_private`: must be a list of networks"),
        ('upstream_proxy = "http://u:hush@p:x"\n', "line 1: `upstream_proxy`: must be http://host:port"),
        ('upstream_proxy = "https://u:hush@p:1"\n', "line 1: `upstream_proxy`: must be http://host:port"),
        ('upstream_proxy = ["http://u:hush@p:1"]\n', "`upstream_proxy`: must be a string"),
        ('no_proxy = ["10.0.0.1/8"]\n', "`no_proxy`: 10.0.0.1/8 has host bits set"),
        ("no_proxy = 1\n", "`no_proxy`: must be a list of"),
        ('upstream_addresses = ["a=b"]\n', "`upstream_addresses`: must be a table"),
        ('upstream_addresses = { "git.example" = "there" }\n', "`upstream_addresses`: 'there' is not an address"),
        ('upstream_addresses = { "10.0.0.1" = "10.0.0.2" }\n', "`upstream_addresses`: '10.0.0.1' ends in a number"),
        ("authorities = 1\n", "`authorities`: must be a list of files"),
        ('authorities = [""]\n', "`authorities`: must not be empty"),
    ],
)
def test_refuses_and_says_where_and_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert message in caught.value.message
    assert "hush" not in f"{caught.value.message} {caught.value.__cause__}"


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no settings file"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(UsageError, match="cannot read the settings file"):
        load_settings(tmp_path)


def test_a_wrong_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISTER_SLOTS", "many")
    with pytest.raises(UsageError, match="CLOISTER_SLOTS: `slots`: must be an integer"):
        load(tmp_path, "slots = 3\n")


def test_a_variable_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISTER_SLOTS", "7")
    monkeypatch.setenv("CLOISTER_ALLOW_PRIVATE", "10.0.0.0/8, fd00::/8")
    monkeypatch.setenv("CLOISTER_NETWORK_ALLOW", "example.com, Corp.example")
    monkeypatch.setenv("CLOISTER_NETWORK_PORTS", "80,8080")
    settings = load(tmp_path, 'slots = 3\nruntime = "runc"\n')
    assert (settings.slots, settings.runtime) == (7, "runc")
    assert settings.allow_private == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    assert settings.ceiling == Ceiling(allow=("example.com", "corp.example"), ports=(80, 8080))


def test_the_users_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "config" / "cloister" / "cloister.toml"
    path.parent.mkdir(parents=True)
    path.write_text("slots = 9\n")
    assert load_settings().slots == 9


def test_paths_are_absolute_and_follow_the_state(tmp_path: Path) -> None:
    settings = load(tmp_path, 'state = "~/x"\n')
    assert settings.state == Path("~/x").expanduser()
    assert settings.master_key_path == settings.state / "master.key"
    assert load(tmp_path, 'master_key = "/k"\n').master_key_path == Path("/k")


def test_the_way_to_upstreams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
    authorities = ["corp.pem"]
    upstream_proxy = "http://u:pass%40word@proxy.example:3128"
    no_proxy = ["corp.example", "10.0.0.0/8"]
    upstream_addresses = { "Git.Example.Internal" = "10.0.0.5", "b.example" = "[fd00::5]:8443" }
    """
    (tmp_path / "cloister.toml").touch(mode=0o600)
    settings = load(tmp_path, text)
    assert settings.authorities == (Path("corp.pem").absolute(),)
    proxy = settings.upstreams.proxy
    assert proxy is not None and proxy.credentials is not None and proxy.credentials.reveal() == "u:pass@word"
    assert [str(hosts) for hosts in settings.upstreams.direct] == ["corp.example", "10.0.0.0/8"]
    given = {"git.example.internal": "10.0.0.5", "b.example": "[fd00::5]:8443"}
    assert {host: str(address) for host, address in settings.upstreams.addresses.items()} == given
    assert "pass@word" not in repr(settings) and "pass%40word" not in repr(settings)
    monkeypatch.setenv("CLOISTER_NO_PROXY", "a.example, *")
    monkeypatch.setenv("CLOISTER_UPSTREAM_ADDRESSES", "git.example = 10.0.0.6, b.example=fd00::6")
    settings = load(tmp_path, text)
    assert [str(hosts) for hosts in settings.upstreams.direct] == ["a.example", "*"]
    assert [*map(str, settings.upstreams.addresses.values())] == ["10.0.0.6", "fd00::6"]


def test_a_password_in_a_file_that_everyone_can_read_is_refused(tmp_path: Path) -> None:
    text = 'upstream_proxy = "http://u:hush@proxy.example:3128"\n'
    path = tmp_path / "cloister.toml"
    path.touch()
    path.chmod(0o644)
    with pytest.raises(UsageError, match="everyone on this machine can read it") as caught:
        load(tmp_path, text)
    assert caught.value.hint == f"chmod o= {path}"
    load(tmp_path, text.replace("u:hush@", ""))
    path.chmod(0o640)
    load(tmp_path, text)


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, "").slots = 3


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("", None),
        ('metrics_listen = "127.0.0.1:9464"', ("127.0.0.1", 9464)),
        ('metrics_listen = "[::1]:9464"', ("::1", 9464)),
        ('metrics_listen = "0.0.0.0:9464"\nmetrics_remote = true', ("0.0.0.0", 9464)),
    ],
)
def test_where_metrics_are_served(tmp_path: Path, text: str, listen: tuple[str, int] | None) -> None:
    assert load(tmp_path, text).metrics_listen == listen
