"""From a signed delivery to a pull request, by `cloister serve`, a real sandbox, and a forge that is strict."""

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from cloister.testing.github.hosted import Hosted
from cloister.testing.github.server import GitHub, serve_github

from ..unit.forges.github.conftest import commit
from ..unit.triggers.deliveries import SECRET, headers_of
from .installation import QUIET, Installation
from .test_server import free_port, serving

SETTINGS = """
[agents.fixer]
command = "grep -o 'fix the sum' | head -n 1 >/cloister/out/message.md; echo two >a.txt"
[github]
url = "{url}"
token_file = "{token}"
webhook_secret = "{secret}"
"""
TOKEN = "ghp_" + "a" * 36


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    with serve_github(tmp_path / "forge") as made:
        yield made
        made.check()


def test_a_signed_mention_becomes_a_pull_request_and_one_that_is_not_becomes_nothing(
    installation: Installation, github: GitHub, tmp_path: Path
) -> None:
    shop = _shop(github)
    settings = _settings(tmp_path, github)
    issue = shop.open_issue("ann", "The sum is wrong")
    asked = shop.write(issue.number, "ann", "@robot fix the sum")
    delivery = {
        "action": "created",
        "repository": {"id": shop.id, "full_name": shop.full_name},
        "sender": {"login": "ann", "type": "User"},
        "issue": {"number": issue.number},
        "comment": {"id": asked.id, "body": asked.body},
    }
    body = json.dumps(delivery).encode()
    address = f"127.0.0.1:{free_port()}"
    with (
        serving(installation, "--listen", address, config=settings),
        httpx2.Client(timeout=60) as http,
    ):

        def deliver(secret: str) -> int:
            headers = headers_of(body, "issue_comment", "72d3162e-cc78-11e3-81ab-4c9367dc0958", secret)
            return http.post(f"http://{address}/webhooks/github", content=body, headers=headers).status_code

        assert deliver("the-secret-of-somebody-else") == 401
        assert installation.cloister("github", "deliveries").stdout == ""
        assert github.asked == [], "nothing of it was looked at"
        assert deliver(SECRET) == 202
        until = time.monotonic() + 120
        while ("robot", "rocket") not in asked.reactions:
            assert time.monotonic() < until, (asked.reactions, [it.body for it in shop.written.values()])
            time.sleep(0.1)
        (pull,) = shop.pulls.values()
        assert shop.git("show", f"{pull.head}:a.txt") == "two"
        (answer,) = [it for it in shop.written.values() if it.author == "robot"]
        assert answer.edits == 1
        assert f"Opened #{pull.number}." in answer.body
        assert "fix the sum" in answer.body, "the agent was told what was asked, and said so"
        task = installation.cloister("task", "list").stdout.split()[0]
        assert f"task `{task}`" in answer.body.lower()
        assert f"task {task}" in installation.cloister("github", "deliveries").stdout


def _shop(github: GitHub) -> Hosted:
    shop = github.accounts.add("team/shop", writers=["ann", "robot"])
    github.accounts.add_token(TOKEN, "robot")
    commit(shop.path, "main", {"a.txt": "one\n", ".cloister/environment.toml": f'agent = "fixer"\n{QUIET}'})
    return shop


def _settings(place: Path, github: GitHub) -> Path:
    token, config = place / "token", place / "cloister.toml"
    for path in (token, config):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, stat.S_IRUSR | stat.S_IWUSR))
    token.write_text(TOKEN)
    config.write_text(SETTINGS.format(url=github.url, token=token, secret=SECRET))
    return config
