import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.testing.github.server import GitHub, serve_github

from .conftest import Installation

TOKEN = "ghp_0123456789abcdefghij"


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    with serve_github(tmp_path / "forge") as made:
        made.accounts.add("team/shop", writers=["ann"])
        made.accounts.add_token(TOKEN, "ann")
        monkeypatch.setenv("CLOISTER_GITHUB_URL", made.url)
        yield made
        made.check()


def test_a_login_is_kept_and_tried(installation: Installation, github: GitHub) -> None:
    done = installation.run("github", "doctor")
    assert done.exit_code == 3
    assert "missing: Cloister has no token for GitHub; give it one: cloister github set-token < token" in done.output
    assert installation.run("github", "set-key", stdin=TOKEN).exit_code == 2
    assert installation.run("github", "set-token", stdin="not a token").exit_code == 2
    assert installation.run("github", "set-token", stdin=f"{TOKEN}\n").exit_code == 0
    done = installation.run("github", "doctor")
    assert (done.exit_code, done.output) == (0, f"{github.url}: logged in as ann, by token\nrepositories: 1\n")
    assert installation.run("github", "repositories", "sho").output == f"{github.url}/team/shop  main, private\n"
    (found,) = json.loads(installation.run("github", "repositories", "--json").stdout)
    assert found["name"] == "team/shop"
    assert installation.run("github", "repositories", "other").output == ""
    assert not any(TOKEN.encode() in file.read_bytes() for file in installation.state.rglob("*") if file.is_file())


def test_repositories_that_may_be_used_are_named(
    installation: Installation, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.run("github", "set-token", stdin=TOKEN)
    for value, seen in (("team/other,team/s*", f"{github.url}/team/shop  main, private\n"), ('["x/y"]', "")):
        monkeypatch.setenv("CLOISTER_GITHUB_REPOSITORIES", value)
        assert installation.run("github", "repositories").output == seen


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("URL", "http://github.example.com"),
        ("URL", "https://user@github.example.com"),
        ("URL", "https://github.example.com/path"),
        ("APP", "zero"),
        ("KEY_FILE", "relative"),
        ("TOKEN", TOKEN),
        ("REPOSITORIES", "*/shop"),
        ("REPOSITORIES", "[1]"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    monkeypatch.setenv(f"CLOISTER_GITHUB_{key}", value)
    done = installation.run("github", "doctor")
    assert done.exit_code == 2, done.output
    assert "CLOISTER_GITHUB" in done.output
    assert TOKEN not in done.output
