"""What the checks of the clean room said, shown at the forge beside what was pushed."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cloister.model.sandbox import Exit
from cloister.sandboxes.fake import Print, Program
from cloister.testing.github.account import FULL
from cloister.testing.github.hosted import AppOnForge, Hosted
from cloister.testing.github.server import Fault, GitHub, serve_github

from .conftest import Installation

TOKEN = "ghp_0123456789abcdefghij"
ENVIRONMENT = '[checks]\nlint = "lint"\ntest = "test"\n[limits]\nrounds = 0\n'
NAMED = "".join(f"a.txt:{number}: error: wrong\n" for number in range(1, 71)) + "gone.txt:1: error: elsewhere\n"


@dataclass(kw_only=True)
class Story:
    installation: Installation
    github: GitHub
    shop: Hosted

    def pr(self) -> dict[str, object]:
        """Of a task whose check `test` fails."""
        address = f"{self.github.url}/team/shop"
        done = self.installation.run("run", "--repo", address, "--command", "x", "--json", "fix")
        task = json.loads(done.stdout.splitlines()[-1])["task"]
        return self.again(task)

    def again(self, task: str) -> dict[str, object]:
        done = self.installation.run("pr", task, "--json")
        assert done.exit_code == 0, done.output
        return {**json.loads(done.stdout), "task": task}


@pytest.fixture
def story(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    failed = Program(steps=[Print(data=NAMED.encode())], ends=Exit(status=1))
    installation.node.programs |= {"check-lint": Program(), "check-test": failed, "check-test-again": failed}
    with serve_github(tmp_path / "forge") as github:
        shop = github.accounts.add("team/shop", writers=["ann"])
        github.accounts.add_token(TOKEN, "ann")
        monkeypatch.setenv("CLOISTER_GITHUB_URL", github.url)
        monkeypatch.setenv("CLOISTER_PUBLIC_URL", "https://cloister.example")
        lines = ["commit refs/heads/main", "committer P <p@example.com> 1700000000 +0000", "data 3", "one"]
        for name, text in {"a.txt": "one\n", ".cloister/environment.toml": ENVIRONMENT}.items():
            lines += [f"M 100644 inline {name}", f"data {len(text)}", text]
        variables = {"PATH": os.environ["PATH"], "GIT_DIR": str(shop.path)}
        text = "\n".join(lines) + "\n"
        subprocess.run(["git", "fast-import", "--quiet"], env=variables, input=text, text=True, check=True)
        yield Story(installation=installation, github=github, shop=shop)
        github.check()


@pytest.fixture
def app(story: Story, monkeypatch: pytest.MonkeyPatch) -> Story:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    known = AppOnForge(
        id=7, slug="cloister", public_key=public.decode(), installation=70, owner="team", permissions=FULL
    )
    story.github.accounts.apps.append(known)
    monkeypatch.setenv("CLOISTER_GITHUB_APP", "7")
    assert story.installation.run("github", "set-key", stdin=private.decode()).exit_code == 0
    return story


def test_an_app_shows_a_run_with_annotations_in_batches(app: Story) -> None:
    published = app.pr()
    (run,) = app.shop.runs.values()
    assert (run.head, run.name, run.status, run.conclusion) == (published["commit"], "Cloister", "completed", "failure")
    assert run.told == ["in_progress", "in_progress", "in_progress", "completed"]
    assert run.external_id == f"{published['task']}-1-1"
    assert run.details_url == f"https://cloister.example/tasks/{published['task']}"
    assert run.output["title"] == "1 of 2 checks passed"
    assert "| lint | passed |" in run.output["summary"]
    assert "a.txt:70: error: wrong" in run.output["text"]
    assert {it["path"] for it in run.annotations} == {"a.txt"}, "what is not in the repository is left out"
    assert [it["start_line"] for it in run.annotations] == list(range(1, 71))
    assert published["notes"] == ["main is protected: its rules say when this may be merged"]
    app.again(str(published["task"]))
    assert len(app.shop.runs) == 1
    assert len(run.annotations) == 70


def test_what_other_attempts_came_to_is_said_where_one_was_pushed(app: Story) -> None:
    address = f"{app.github.url}/team/shop"
    done = app.installation.run("run", "--repo", address, "--command", "x", "--attempts", "2", "--json", "fix")
    task = json.loads(done.stdout.splitlines()[-1])["task"]
    for number in ("1", "2"):
        assert app.installation.run("pr", task, "--attempt", number).exit_code == 0
    runs = {it.external_id: it.output["summary"] for it in app.shop.runs.values()}
    assert list(runs) == [f"{task}-1-1", f"{task}-1-2"], "one for each that was pushed"
    assert "- attempt 2: 1 of 2 checks passed" in runs[f"{task}-1-1"]
    assert "- attempt 1: 1 of 2 checks passed" in runs[f"{task}-1-2"]


def test_a_run_that_was_begun_is_ended_another_time(app: Story) -> None:
    app.github.faults.append(Fault(method="PATCH", path=".*/check-runs/.*", status=403))
    published = app.pr()
    assert "the results of the checks are not shown at the forge" in str(published["notes"])
    (run,) = app.shop.runs.values()
    assert run.status == "in_progress"
    app.again(str(published["task"]))
    assert (len(app.shop.runs), run.conclusion) == (1, "failure")


def test_an_app_that_may_not_show_them_opens_its_pull_request_all_the_same(app: Story) -> None:
    (known,) = app.github.accounts.apps
    permissions = {key: value for key, value in FULL.items() if key != "checks"}
    app.github.accounts.apps[0] = AppOnForge(
        id=7,
        slug="cloister",
        public_key=known.public_key,
        installation=70,
        owner="team",
        permissions=permissions,
    )
    published = app.pr()
    assert "the results of the checks are not shown at the forge" in str(published["notes"])
    assert (list(app.shop.pulls), app.shop.runs) == ([1], {})


def test_a_person_shows_a_status(story: Story) -> None:
    assert story.installation.run("github", "set-token", stdin=TOKEN).exit_code == 0
    published = story.pr()
    assert [commit for commit, _ in story.shop.statuses] == [published["commit"]] * 2
    pending, ended = (status for _, status in story.shop.statuses)
    assert (pending["state"], pending["context"]) == ("pending", "cloister")
    assert (ended["state"], ended["description"]) == ("failure", "1 of 2 checks passed")
    assert ended["target_url"] == f"https://cloister.example/tasks/{published['task']}"
    assert story.shop.runs == {}
