import json

import pytest

from .conftest import Installation

VALUE = "npm-0123456789"


@pytest.mark.parametrize(
    ("name", "value"),
    [("A B", VALUE), ("HOME", VALUE), ("CLOISTER_X", VALUE), ("TOKEN", ""), ("TOKEN", "short"), ("TOKEN", b"\xff" * 9)],
)
def test_what_cannot_be_a_secret_is_refused(installation: Installation, name: str, value: str | bytes) -> None:
    done = installation.run("secret", "set", "web", name, stdin=value)
    assert done.exit_code == 2, done.output
    assert VALUE not in done.output
    assert installation.run("secret", "list", "web").stdout == ""


def test_a_value_is_set_listed_by_name_and_removed(installation: Installation) -> None:
    done = installation.run("secret", "set", "web", "NPM_TOKEN", stdin=f"{VALUE}\n")
    assert (done.exit_code, done.output) == (0, "")
    assert installation.run("secret", "list", "web").stdout == "NPM_TOKEN  setup\n"
    listed = json.loads(installation.run("secret", "list", "web", "--json").stdout)
    assert listed == [{"name": "NPM_TOKEN", "mode": "setup"}]
    assert installation.run("secret", "list", "other").stdout == ""
    assert installation.run("secret", "rm", "web", "NPM_TOKEN").exit_code == 0
    assert installation.run("secret", "list", "web").stdout == ""


def test_no_value_is_ever_an_argument(installation: Installation) -> None:
    assert installation.run("secret", "set", "web", "NPM_TOKEN", VALUE).exit_code == 2


def test_an_environment_without_a_name_is_its_repository(installation: Installation) -> None:
    installation.run("secret", "set", ".", "NPM_TOKEN", stdin=VALUE)
    assert installation.run("secret", "list", str(installation.project)).stdout == "NPM_TOKEN  setup\n"
    (installation.project / "env.toml").write_text("[secrets]\nNPM_TOKEN = {}\n")
    done = installation.run("run", "--command", "x", "--env", "env.toml", "fix")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "api.github.com"), "--brokered"),
        (("--header", "Authorization"), "--brokered"),
        (("--brokered", "--header", "Authorization"), "at least one host"),
        (("--brokered", "--host", "api.github.com"), "a header or a query parameter"),
        (("--brokered", "--host", "api.github.com", "--header", "A", "--query", "b"), "not both"),
        (("--brokered", "--host", "co.uk", "--header", "Authorization"), "too broad"),
        (("--brokered", "--host", "10.0.0.1", "--header", "Authorization"), "host"),
        (("--brokered", "--host", "a.example", "--header", "Authorization", "--format", "Bearer"), "exactly one {}"),
        (("--brokered", "--host", "a.example", "--header", "Authorization", "--path", "/a/%2e%2e/b"), "path"),
    ],
)
def test_a_rule_that_cannot_be_one_is_refused(installation: Installation, options: tuple[str, ...], words: str) -> None:
    done = installation.run("secret", "set", "web", "GH_PAT", *options, stdin=VALUE)
    assert done.exit_code == 2, done.output
    assert words in done.output.replace("\n", " ")
    assert VALUE not in done.output
    assert installation.run("secret", "list", "web").stdout == ""


def test_a_brokered_secret_is_listed_with_its_rule(installation: Installation) -> None:
    rule = ("--brokered", "--host", "api.github.com", "--header", "Authorization", "--format", "Bearer {}")
    narrower = ("--method", "GET", "--path", "/repos/me/")
    assert installation.run("secret", "set", "web", "GH_PAT", *rule, *narrower, stdin=VALUE).exit_code == 0
    line = "GH_PAT  brokered  GET /repos/me to api.github.com in Authorization\n"
    assert installation.run("secret", "list", "web").stdout == line
    (listed,) = json.loads(installation.run("secret", "list", "web", "--json").stdout)
    assert (listed["mode"], listed["hosts"], listed["paths"]) == ("brokered", ["api.github.com"], ["/repos/me"])


def test_the_master_key_is_replaced_once_at_a_time(installation: Installation) -> None:
    (installation.project / "env.toml").write_text("name = 'web'\n[secrets]\nNPM_TOKEN = {}\n")
    installation.run("secret", "set", "web", "NPM_TOKEN", stdin=VALUE)
    key = installation.state / "master.key"
    before = key.read_bytes()
    done = installation.run("secret", "rotate-key")
    assert (done.exit_code, done.stdout) == (0, "the master key is a new one; 1 value wrapped anew\n")
    assert key.read_bytes() != before
    assert {path.stat().st_mode & 0o777 for path in installation.state.glob("master.key*")} == {0o600}
    again = installation.run("secret", "rotate-key")
    assert (again.exit_code, "hint: wait " in again.stderr) == (2, True)
    done = installation.run("run", "--command", "x", "--env", "env.toml", "fix")
    assert done.exit_code == 0, done.output


def test_a_path_of_ours_names_no_vault_of_a_server_elsewhere(installation: Installation) -> None:
    ran = installation.run("--server", "http://127.0.0.1:1", "secret", "set", ".", "TOKEN", stdin="a-long-value")
    assert (ran.exit_code, "is a path of this machine" in ran.stderr) == (2, True), ran.output
    assert installation.run("secret", "set", ".", "TOKEN", stdin="a-long-value").exit_code == 0, "the twin"
