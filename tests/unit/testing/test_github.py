"""The forge of tests refuses what GitHub refuses, and notices what GitHub's description does not have."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cloister.forges.github.host import READY
from cloister.testing.github import trim
from cloister.testing.github.description import Description
from cloister.testing.github.filling import fill
from cloister.testing.github.server import Fault, GitHub, serve_github

CACHE = Path("~/.cache/cloister-tests/npm").expanduser()
SHA256 = "71a18407dd5e8464f4e0525daf03deabbe65abd9287d6adc7b5d98f516cd0d0c"
"""Of the package whose description is trimmed."""
GRAPHQL_SHA256 = "053e74249dafce2118fd9b7ae499b067d57c5f910c57745699ac45108bc68d1e"
TOKEN = "ghp_0123456789abcdefghij"


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHub]:
    with serve_github(tmp_path / "forge") as made:
        made.accounts.add("team/shop", writers=["ann"])
        made.accounts.add_token(TOKEN, "ann")
        yield made


class Clone:
    """A work tree, and a person in it."""

    def __init__(self, path: Path, remote: str) -> None:
        self.path, self.remote = path, remote
        path.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        person = {f"GIT_{role}_{key}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.path), "GIT_TERMINAL_PROMPT": "0", **person}
        return subprocess.run(["git", *arguments], cwd=self.path, env=environment, capture_output=True, text=True)

    def commit(self, text: str) -> None:
        (self.path / "a.txt").write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={text}")


@pytest.fixture
def clone(tmp_path: Path, github: GitHub) -> Clone:
    made = Clone(tmp_path / "clone", f"{github.url}/team/shop.git".replace("//", f"//x:{TOKEN}@"))
    made.commit("one\n")
    github.accounts.repositories[0].protected.clear()
    assert made.git("push", made.remote, "main").returncode == 0
    github.accounts.repositories[0].protected.add("main")
    return made


def ask(github: GitHub, method: str, path: str, body: object = None, token: str = TOKEN) -> httpx.Response:
    headers = {"Authorization": f"token {token}", "Accept": "application/vnd.github+json"}
    return httpx.request(method, f"{github.url}/api/v3{path}", headers=headers, json=body, timeout=60)


def test_nobody_pushes_to_a_protected_branch(github: GitHub, clone: Clone) -> None:
    clone.commit("two\n")
    done = clone.git("push", clone.remote, "main")
    assert "GH006: Protected branch update failed for refs/heads/main" in done.stderr
    assert clone.git("push", "--force", clone.remote, "main").returncode != 0
    assert clone.git("push", clone.remote, "main:other").returncode == 0, "the twin"


def test_who_may_not_see_a_repository_is_told_that_there_is_none(github: GitHub, clone: Clone) -> None:
    github.accounts.add_token(f"{TOKEN}b", "bob")
    assert ask(github, "GET", "/repos/team/shop", token=f"{TOKEN}b").status_code == 404
    assert ask(github, "GET", "/repos/team/shop", token="wrong").status_code == 401
    assert "not found" in clone.git("ls-remote", clone.remote.replace(TOKEN, f"{TOKEN}b")).stderr
    assert clone.git("ls-remote", clone.remote.replace(f"x:{TOKEN}@", "")).returncode != 0
    assert ask(github, "GET", "/repos/team/shop").status_code == 200, "the twin"


def test_workflows_are_not_changed_without_permission(github: GitHub, clone: Clone) -> None:
    github.accounts.add_token(f"{TOKEN}w", "ann", workflows=False)
    (clone.path / ".github/workflows").mkdir(parents=True)
    (clone.path / ".github/workflows/ci.yml").write_text("on: push\n")
    clone.commit("two\n")
    done = clone.git("push", clone.remote.replace(TOKEN, f"{TOKEN}w"), "main:ci")
    assert "refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml`" in done.stderr
    assert clone.git("push", clone.remote, "main:ci").returncode == 0, "the twin"


def test_pull_requests_are_kept_and_refused_as_github_does(github: GitHub, clone: Clone) -> None:
    new = {"title": "Two", "head": "two", "base": "main"}
    assert ask(github, "POST", "/repos/team/shop/pulls", new).status_code == 422, "there is no such branch"
    clone.git("push", clone.remote, "main:two")
    assert "No commits between main and two" in ask(github, "POST", "/repos/team/shop/pulls", new).text
    clone.commit("two\n")
    clone.git("push", clone.remote, "main:two")
    assert ask(github, "POST", "/repos/team/shop/pulls", new).json()["number"] == 1
    assert "already exists for team:two" in ask(github, "POST", "/repos/team/shop/pulls", new).text

    review = {"event": "COMMENT", "comments": [{"path": "a.txt", "line": 9, "body": "?"}]}
    assert "must be part of the diff" in ask(github, "POST", "/repos/team/shop/pulls/1/reviews", review).text
    review["comments"] = [{"path": "a.txt", "line": 1, "body": "?"}]
    assert ask(github, "POST", "/repos/team/shop/pulls/1/reviews", review).status_code == 200, "the twin"
    for more, refused in (
        ({"event": "COMMENT"}, "Review body can't be blank"),
        ({"event": "APPROVE"}, "Can not approve your own pull request"),
        ({"event": "COMMENT", "body": "x" * 65537}, "Body is too long"),
        ({"event": "COMMENT", "body": "x", "commit_id": "0" * 40}, "commit_id is not part of"),
        ({"comments": [{"path": "a.txt", "line": 1, "start_line": 1, "body": "?"}]}, "must precede the end line"),
        ({"comments": [{"path": "a.txt", "line": 1, "start_line": 9, "body": "?"}]}, "must precede the end line"),
    ):
        assert refused in ask(github, "POST", "/repos/team/shop/pulls/1/reviews", more).text
    assert len(ask(github, "GET", "/repos/team/shop/pulls/1/reviews").json()) == 1

    stale = {"sha": "0" * 40}
    assert ask(github, "PUT", "/repos/team/shop/pulls/1/merge", stale).status_code == 409
    assert ask(github, "PUT", "/repos/team/shop/pulls/1/merge", {}).json()["merged"] is True
    assert ask(github, "GET", "/repos/team/shop/pulls/1").json()["merged"] is True
    github.check()


def test_a_person_makes_no_check_run_and_a_status_of_what_is_there(github: GitHub, clone: Clone) -> None:
    head = clone.git("rev-parse", "HEAD").stdout.strip()
    run = {"name": "x", "head_sha": head}
    assert ask(github, "POST", "/repos/team/shop/check-runs", run).status_code == 403
    assert "No commit found" in ask(github, "POST", f"/repos/team/shop/statuses/{'0' * 40}", {"state": "success"}).text
    long = {"state": "success", "description": "x" * 141}
    assert "too long" in ask(github, "POST", f"/repos/team/shop/statuses/{head}", long).text
    assert ask(github, "POST", f"/repos/team/shop/statuses/{head}", {"state": "success"}).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "body", "problem"),
    [
        ("POST", "/repos/team/shop/pulls", {"title": "x", "head": "y", "base": "main", "drat": True}, "drat"),
        ("POST", "/repos/team/shop/pulls", {"title": 1, "head": "y", "base": "main"}, "is not of type 'string'"),
        ("POST", "/repos/team/shop/pulls", {"title": "x", "head": "y"}, "'base' is a required property"),
        ("GET", "/repos/team/shop/pulls?state=merged", None, "'merged' is not one of"),
        ("GET", "/repos/team/shop/pulls?heads=x", None, "heads is not described"),
        ("GET", "/repos/team/shop/pull/1", None, "no operation of the subset"),
    ],
)
def test_a_request_that_is_not_as_described_is_noticed(
    github: GitHub, method: str, path: str, body: object, problem: str
) -> None:
    assert ask(github, method, path, body).status_code in (404, 422)
    with pytest.raises(AssertionError, match=problem):
        github.check()


def test_an_answer_that_is_not_as_described_is_noticed() -> None:
    description = Description()
    called = description.find("GET", "/user", "")
    assert called is not None
    schema = description.answer_schema(called, 200)
    assert schema is not None
    whole = fill(description, schema, {"login": "ann"})
    assert description.check_answer(called, 200, whole) == []
    assert description.check_answer(called, 200, {**whole, "id": "one"}) != []
    assert description.check_answer(called, 418, None) == ["status 418 is not described"]
    with pytest.raises(AssertionError, match="knows no fullname"):
        fill(description, schema, {"fullname": "Ann"})


def test_faults_come_before_or_after_what_was_asked_for(github: GitHub, clone: Clone) -> None:
    clone.commit("two\n")
    clone.git("push", clone.remote, "main:two")
    new = {"title": "Two", "head": "two", "base": "main"}
    github.faults += [Fault(method="POST", path=".*/pulls", status=502)]
    assert ask(github, "POST", "/repos/team/shop/pulls", new).status_code == 502
    assert github.accounts.repositories[0].pulls == {}
    github.faults += [Fault(method="POST", path=".*/pulls", status=0, after=True)]
    with pytest.raises(httpx.RemoteProtocolError):
        ask(github, "POST", "/repos/team/shop/pulls", new)
    assert list(github.accounts.repositories[0].pulls) == [1]


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm fetches the description")
def test_the_description_is_github_s_own() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    package = CACHE / f"octokit-openapi-{trim.VERSION}.tgz"
    if not package.exists():
        subprocess.run(["npm", "pack", "--silent", f"{trim.PACKAGE}@{trim.VERSION}"], cwd=CACHE, check=True)
    assert hashlib.sha256(package.read_bytes()).hexdigest() == SHA256
    with tarfile.open(package) as archive:
        file = archive.extractfile("package/generated/api.github.com.json")
        assert file is not None
        described: dict[str, Any] = json.load(file)
    ours = Path(trim.__file__).with_name("api.json")
    assert trim.trim(described) == json.loads(ours.read_bytes())


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm fetches the description")
def test_what_is_asked_of_graphql_is_in_github_s_own_schema() -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    package = CACHE / "octokit-graphql-schema-15.26.1.tgz"
    if not package.exists():
        subprocess.run(["npm", "pack", "--silent", "@octokit/graphql-schema@15.26.1"], cwd=CACHE, check=True)
    assert hashlib.sha256(package.read_bytes()).hexdigest() == GRAPHQL_SHA256
    with tarfile.open(package) as archive:
        file = archive.extractfile("package/schema.graphql")
        assert file is not None
        schema = " ".join(re.sub(r'"""[\s\S]*?"""', "", file.read().decode()).split())
    for part in (
        "markPullRequestReadyForReview( input: MarkPullRequestReadyForReviewInput! ): "
        "MarkPullRequestReadyForReviewPayload",
        "input MarkPullRequestReadyForReviewInput { clientMutationId: String pullRequestId: ID! }",
        "type MarkPullRequestReadyForReviewPayload { clientMutationId: String pullRequest: PullRequest }",
        "isDraft: Boolean!",
    ):
        assert part in schema


def test_graphql_is_asked_for_one_thing_alone(github: GitHub, clone: Clone) -> None:
    def asked(query: str, **variables: str) -> Any:
        body = {"query": query, "variables": variables}
        headers = {"Authorization": f"token {TOKEN}"}
        return httpx.post(f"{github.url}/api/graphql", headers=headers, json=body, timeout=60).json()

    assert "errors" in asked("{ viewer { login } }")
    assert "errors" in asked(READY, id="PR_1_1")
    clone.commit("two\n")
    clone.git("push", clone.remote, "main:two")
    ask(github, "POST", "/repos/team/shop/pulls", {"title": "Two", "head": "two", "base": "main", "draft": True})
    assert "errors" in asked(READY, id="PR_1_1", oauth_token="x"), "more variables than the query has"
    assert "errors" not in asked(READY, id="PR_1_1")
    assert github.accounts.repositories[0].pulls[1].draft is False
