"""From a signed delivery to a pull request, by `cloister serve`, a real sandbox, and a forge that is strict."""

import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from cloister.testing.github.hosted import CheckRunOnForge, Hosted, Pull
from cloister.testing.github.server import GitHub, serve_github

from ..unit.forges.github.conftest import commit
from ..unit.triggers.deliveries import SECRET, headers_of
from .installation import QUIET, Installation
from .test_server import free_port, serving

SETTINGS = """
[agents.fixer]
command = "grep -o 'fix the sum' | head -n 1 >/cloister/out/message.md; echo two >a.txt"
[agents.reader]
command = '''
cat >/tmp/told
if grep -q '^# What you review' /tmp/told; then
  rules=$(sed '/^## The change/,$d' /tmp/told | grep -o 'Rule of the [a-z]*' | tr '\\n' ' ')
  sed "s/RULES/$rules/" findings.json >/cloister/out/review.json
elif grep -q '^Checks of the forge failed' /tmp/told; then
  grep -o 'expected [a-z]*' /tmp/told | tail -n 1 >a.txt
else
  echo wrong >a.txt
fi
'''
[github]
url = "{url}"
token_file = "{token}"
webhook_secret = "{secret}"
fix_checks = 1
"""
RULES = {"AGENTS.md": "root", "src/AGENTS.md": "folder", "other/AGENTS.md": "other"}
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


def test_a_review_is_posted_at_its_lines_and_failed_checks_are_mended(
    installation: Installation, github: GitHub, tmp_path: Path
) -> None:
    shop = _shop(github)
    environment = f'agent = "reader"\n{QUIET}'
    rules = {name: f"## Review guidelines\n\nRule of the {of}.\n" for name, of in RULES.items()}
    commit(shop.path, "main", {".cloister/environment.toml": environment, **rules})
    found = {"path": "src/b.txt", "start_line": 1, "line": 2, "priority": "P1", "title": "Wrong"}
    changed = {"findings.json": json.dumps({"summary": "RULES", "findings": [found]}), "src/b.txt": "1\n2\n"}
    shop.git("branch", "topic", "main")
    commit(shop.path, "topic", changed | {"src/AGENTS.md": "## Review guidelines\n\nRule of the fork.\n"})
    shop.pulls[1] = _pull(shop, 1, "topic")
    address = f"127.0.0.1:{free_port()}"

    def deliver(kind: str, **parts: object) -> None:
        about = {"repository": {"id": shop.id, "full_name": shop.full_name}, "sender": {"login": "ann", "type": "User"}}
        body = json.dumps(about | parts).encode()
        headers = headers_of(body, kind, f"of-{kind}".replace("_", "-"))
        assert httpx2.post(f"http://{address}/webhooks/github", content=body, headers=headers, timeout=60).is_success

    with serving(installation, "--listen", address, config=_settings(tmp_path, github)):
        asked = shop.write(1, "ann", "@robot review")
        comment = {"id": asked.id, "body": asked.body}
        deliver("issue_comment", action="created", issue={"number": 1}, comment=comment)
        _until(lambda: shop.pulls[1].reviews, asked.reactions)
        (review,) = shop.pulls[1].reviews
        assert (review.author, review.state) == ("robot", "COMMENTED")
        assert [(it.path, it.start_line, it.line) for it in review.remarks] == [("src/b.txt", 1, 2)]
        assert "Rule of the root Rule of the folder" in review.body
        assert "Rule of the fork" not in review.body

        ran = installation.cloister("run", "--repo", f"{github.url}/team/shop", "--json", "do it")
        assert installation.cloister("pr", str(ran.events[-1]["task"])).code == 0
        (pull,) = [it for it in shop.pulls.values() if it.author == "robot"]
        before = pull.last_head
        log = b"begin\nexpected green\n"
        shop.runs[7] = CheckRunOnForge(
            id=7, head=before, name="build", status="completed", conclusion="failure", log=log
        )
        suite = {"id": 9, "head_branch": pull.head, "head_sha": before, "conclusion": "failure"}
        deliver("check_suite", action="completed", check_suite=suite)
        _until(lambda: shop.find_commit(pull.head) != before, lambda: installation.cloister("github", "deliveries"))
        assert shop.git("show", f"{pull.head}:a.txt") == "expected green"
        assert shop.git("rev-parse", f"{pull.head}^") == before


def _until(what: Callable[[], object], seen: object) -> None:
    until = time.monotonic() + 120
    while not what():
        assert time.monotonic() < until, seen() if callable(seen) else seen
        time.sleep(0.1)


def _pull(shop: Hosted, number: int, branch: str) -> Pull:
    head = shop.find_commit(branch) or ""
    return Pull(number=number, title="Topic", body="", head=branch, base="main", author="ann", last_head=head)


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
