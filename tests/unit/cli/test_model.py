import json

import pytest

from .conftest import Installation

KEY = "sk-0123456789"


@pytest.mark.parametrize(("provider", "key"), [("openai", "short"), ("openai", "two\nlines"), ("opemai", KEY)])
def test_what_cannot_be_a_key_is_refused(installation: Installation, provider: str, key: str) -> None:
    done = installation.run("model", "set-key", provider, stdin=key)
    assert done.exit_code == 2, done.output
    assert key not in done.output
    assert all(one["key"] == "" for one in json.loads(installation.run("model", "list", "--json").stdout))


def test_a_key_is_set_seen_as_there_and_removed(installation: Installation) -> None:
    done = installation.run("model", "set-key", "openai", stdin=f"{KEY}\n")
    assert (done.exit_code, done.output) == (0, "")
    first, second, _ = installation.run("model", "list").stdout.splitlines()
    assert first == "openai  responses,chat  https://api.openai.com/v1  key: vault"
    assert second.endswith("no key: cloister model set-key anthropic")
    assert not any(KEY.encode() in file.read_bytes() for file in installation.state.rglob("*") if file.is_file())
    assert installation.run("model", "rm-key", "openai").exit_code == 0
    assert installation.run("model", "rm-key", "openai").exit_code == 2


def test_a_task_whose_model_has_no_key_is_refused(installation: Installation) -> None:
    done = installation.run("run", "--detach", "--model", "openai", "--command", "x", "fix")
    assert done.exit_code == 2
    assert "cloister model set-key openai" in done.output
    assert installation.run("task", "list").stdout == ""


def test_no_key_is_ever_an_argument(installation: Installation) -> None:
    assert installation.run("model", "set-key", "openai", KEY).exit_code == 2


def test_no_environment_can_be_called_as_the_place_of_keys(installation: Installation) -> None:
    assert installation.run("model", "set-key", "openai", stdin=KEY).exit_code == 0
    place = "\x01model providers"
    done = installation.run("secret", "set", place, "KEY_OF_OPENAI", stdin="another-value")
    assert done.exit_code == 2
    (installation.project / "env.toml").write_text('name = "\\u0001model providers"\n[secrets]\nKEY_OF_OPENAI = {}\n')
    done = installation.run("run", "--detach", "--env", "env.toml", "--command", "env", "fix")
    assert done.exit_code == 2
    assert KEY not in done.output
