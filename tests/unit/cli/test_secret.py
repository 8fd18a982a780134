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
    assert installation.run("secret", "list", "web").stdout == "NPM_TOKEN\n"
    assert json.loads(installation.run("secret", "list", "web", "--json").stdout) == ["NPM_TOKEN"]
    assert installation.run("secret", "list", "other").stdout == ""
    assert installation.run("secret", "rm", "web", "NPM_TOKEN").exit_code == 0
    assert installation.run("secret", "list", "web").stdout == ""


def test_no_value_is_ever_an_argument(installation: Installation) -> None:
    assert installation.run("secret", "set", "web", "NPM_TOKEN", VALUE).exit_code == 2


def test_an_environment_without_a_name_is_its_repository(installation: Installation) -> None:
    installation.run("secret", "set", ".", "NPM_TOKEN", stdin=VALUE)
    assert installation.run("secret", "list", str(installation.project)).stdout == "NPM_TOKEN\n"
    (installation.project / "env.toml").write_text("[secrets]\nNPM_TOKEN = {}\n")
    done = installation.run("run", "--command", "x", "--env", "env.toml", "fix")
    assert done.exit_code == 0, done.output
