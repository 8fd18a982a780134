"""From a task to a merged pull request, against a forge that holds every request against GitHub's description.

Sandboxes are scripted; git, database and forge are real.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import UnreachableError
from cloister.forges.branches import MirrorBranches
from cloister.model.flag import Flag, FlagKind
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.pull_requests import automation_of
from cloister.testing.github.hosted import Hosted, Pull
from cloister.testing.github.server import Fault, GitHub, serve_github

from .conftest import DIFF, Installation

TOKEN = "ghp_0123456789abcdefghij"
PERSON = {f"GIT_{role}_{key}": "p@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}


def diff_of(path: str, old: str | None, new: str) -> bytes:
    """A diff as git writes it, of one file of one line."""
    name, mode = f"a/{path} b/{path}", "" if old is not None else "new file mode 100644\n"
    before, count = (f"a/{path}", "-1") if old is not None else ("/dev/null", "-0,0")
    lines = [f"-{old}"] if old is not None else []
    text = "\n".join([f"--- {before}", f"+++ b/{path}", f"@@ {count} +1 @@", *lines, f"+{new}"])
    return f"diff --git {name}\n{mode}{text}\n".encode()


@dataclass(kw_only=True)
class Story:
    installation: Installation
    github: GitHub
    shop: Hosted

    def commit(self, branch: str, files: dict[str, str]) -> str:
        """A person's commit on a branch of the forge."""
        found = self.shop.find_commit(branch)
        lines = [f"commit refs/heads/{branch}", "committer P <p@example.com> 1700000000 +0000", "data 3", "one"]
        lines += [f"from {found}"] if found else []
        for name, text in files.items():
            lines += [f"M 100644 inline {name}", f"data {len(text)}", text]
        environment = {"PATH": os.environ["PATH"], "GIT_DIR": str(self.shop.path)}
        done = "\n".join(lines) + "\n"
        subprocess.run(["git", "fast-import", "--quiet"], env=environment, input=done, text=True, check=True)
        self.shop.follow_branches()
        return self.shop.git("rev-parse", branch)

    def task(self, prompt: str = "Fix the failing test\n\nIt says two.", diff: bytes = DIFF) -> str:
        self.installation.node.diff = diff
        address = f"{self.github.url}/team/shop"
        done = self.installation.run("run", "--repo", address, "--command", "x", "--json", prompt)
        assert done.exit_code == 0, done.output
        return str(json.loads(done.stdout.splitlines()[-1])["task"])

    def follow_up(self, task: str, prompt: str, diff: bytes) -> None:
        self.installation.node.diff = diff
        done = self.installation.run("task", "follow-up", task, prompt)
        assert done.exit_code == 0, done.output

    def pr(self, task: str, *options: str) -> dict[str, Any]:
        done = self.installation.run("pr", task, *options, "--json")
        assert done.exit_code == 0, done.output
        published: dict[str, Any] = json.loads(done.stdout)
        return published

    def refused(self, task: str, *options: str, status: int) -> str:
        before = (self.shop.branches(), dict(self.shop.pulls))
        done = self.installation.run("pr", task, *options)
        assert done.exit_code == status, done.output
        assert (self.shop.branches(), self.shop.pulls) == before
        return re.sub(r"\s+", " ", done.output)

    @property
    def pull(self) -> Pull:
        (pull,) = self.shop.pulls.values()
        return pull

    def show(self, revision: str) -> str:
        return self.shop.git("show", revision)


@pytest.fixture
def story(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Story]:
    with serve_github(tmp_path / "forge") as github:
        shop = github.accounts.add("team/shop", writers=["ann"])
        github.accounts.add_token(TOKEN, "ann")
        monkeypatch.setenv("CLOISTER_GITHUB_URL", github.url)
        monkeypatch.setenv("CLOISTER_PUBLIC_URL", "https://cloister.example")
        made = Story(installation=installation, github=github, shop=shop)
        made.commit("main", {"a.txt": "one\n"})
        assert installation.run("github", "set-token", stdin=TOKEN).exit_code == 0
        yield made
        github.check()


def test_what_cannot_be_proposed_is_refused(story: Story) -> None:
    empty = story.task(diff=b"")
    assert "changed nothing, so there is nothing to propose" in story.refused(empty, status=2)
    local = story.installation.run("run", "--command", "x", "--json", "fix")
    task = json.loads(local.stdout.splitlines()[-1])["task"]
    assert "is no repository at the forge of the settings" in story.refused(task, status=2)
    done = story.commit("main", {"a.txt": "two\n"})
    assert done
    before = story.task(diff=diff_of("a.txt", "two", "three"))
    story.commit("main", {"a.txt": "three\n"})
    assert "main has all of the change" in story.refused(before, status=2)


def test_what_the_forge_runs_is_pushed_only_when_somebody_says_so(story: Story) -> None:
    path = ".github/workflows/ci.yml"
    task = story.task(diff=diff_of(path, None, "on: push"))
    assert f"has {path}: the forge runs that as soon as it is pushed" in story.refused(task, status=5)
    assert story.pr(task, "--workflows")["opened"] is True


@pytest.mark.parametrize(
    "path", [".github/actions/x/a.yml", ".GitHub/workflows/ci.yml", '".github/workflows/\\303.yml"']
)
def test_what_the_forge_runs_is_known_by_its_path(path: str) -> None:
    commit, stats = Commit("0" * 40), DiffStats(files=1, added=1, removed=1)
    quoted = f'"a/{path[1:]} "b/{path[1:]}' if path.startswith('"') else f"a/{path} b/{path}"
    diff = f"diff --git {quoted}\n".encode()
    assert automation_of(Change(base=commit, commit=commit, diff=diff, stats=stats)) == {path}
    assert automation_of(Change(base=commit, commit=commit, diff=DIFF, stats=stats)) == set()


def test_what_is_flagged_as_run_by_the_forge_counts_too() -> None:
    commit, stats = Commit("0" * 40), DiffStats(files=1, added=1, removed=1)
    flags = tuple(
        Flag(kind=kind, path=path) for kind, path in ((FlagKind.AUTOMATION, "Jenkinsfile"), (FlagKind.GIT, "x"))
    )
    assert automation_of(Change(base=commit, commit=commit, diff=DIFF, stats=stats, flags=flags)) == {"Jenkinsfile"}


def test_from_a_task_to_a_pull_request_that_is_updated_and_merged(story: Story) -> None:
    base = story.commit("main", {".github/pull_request_template.md": "## Checklist\n\n- [ ] tested\n"})
    task = story.task()
    published = story.pr(task, "--draft", "--label", "robot")
    branch = f"cloister/{task}-fix-the-failing-test-it-says-two"
    assert story.shop.branches() == {"main": base, branch: published["commit"]}
    pull = story.pull
    assert (pull.title, pull.head, pull.base, pull.draft, pull.labels) == (
        "Fix the failing test",
        branch,
        "main",
        True,
        ["robot"],
    )
    assert story.shop.git("log", "--format=%P|%an|%s", "-1", branch) == f"{base}|ann|Fix the failing test"
    assert story.show(f"{branch}:a.txt") == "two"
    assert f"Cloister-Task: https://cloister.example/tasks/{task}" in story.shop.git("log", "-1", "--format=%B", branch)
    assert "Co-authored-by: command (Cloister)" in story.shop.git("log", "-1", "--format=%B", branch)
    body = pull.body or ""
    assert body.startswith("## Checklist\n\n- [ ] tested\n\n<!-- cloister:")
    for told in (
        "> Fix the failing test",
        "I fixed it.",
        "**1 file changed**",
        "- `a.txt`",
        "| checks | none were run |",
    ):
        assert told in body
    assert "| network | agent: off |" in body
    assert "| secrets | none |" in body
    assert re.search(r"\| record \| `sha256:[0-9a-f]{64}` \|", body)
    assert f"| task | https://cloister.example/tasks/{task} |" in body

    pull.body = f"Mine above\n{body.replace('- [ ] tested', '- [x] tested')}\nMine below"
    pull.draft = False
    story.commit("main", {"other.txt": "more\n"})
    story.follow_up(task, "Say three", diff_of("a.txt", "one", "three"))
    updated = story.pr(task)
    assert updated["opened"] is False
    assert list(story.shop.pulls) == [1]
    assert set(story.shop.branches()) == {"main", branch}
    merge, *_ = story.shop.git("log", "--format=%s", "--first-parent", branch).splitlines()
    history = story.shop.git("log", "--format=%s", "--first-parent", f"main~1..{branch}").splitlines()
    assert (merge, history) == ("Merge main", ["Merge main", "Say three", "Fix the failing test"])
    assert story.show(f"{branch}:a.txt") == "three"
    assert story.show(f"{branch}:other.txt") == "more"
    body = pull.body or ""
    assert body.startswith("Mine above\n## Checklist\n\n- [x] tested")
    assert body.endswith("Mine below")
    assert body.count("<!-- cloister:") == 2
    assert "> Fix the failing test" in body
    assert "> Say three" in body
    assert pull.title == "Fix the failing test"

    assert story.pr(task)["commit"] == updated["commit"], "again, and nothing is new"
    story.shop.merge(pull, squash=True)
    story.shop.git("update-ref", "-d", f"refs/heads/{branch}")
    assert "main has all of the change" in story.refused(task, status=2)
    story.follow_up(task, "Say four", diff_of("a.txt", "one", "four"))
    assert story.pr(task)["pull_request"]["number"] == 2, "the first is merged: what came after needs another"
    assert story.shop.pulls[2].head == branch
    log = story.installation.run("task", "logs", task, "--json").stdout.splitlines()
    events = [json.loads(line)["event"] for line in log]
    assert [name for name in events if name.startswith(("branch", "pull"))] == [
        *("branch_pushed", "pull_request_opened", "branch_pushed", "pull_request_updated", "pull_request_updated"),
        *("branch_pushed", "pull_request_opened"),
    ]


def test_a_title_that_a_person_wrote_stays(story: Story) -> None:
    task = story.task()
    story.pr(task)
    story.pull.title = "A better one"
    story.follow_up(task, "Say three", diff_of("a.txt", "one", "three"))
    story.pr(task)
    assert story.pull.title == "A better one"


def test_a_base_that_moved_is_built_upon_or_said_to_conflict(story: Story) -> None:
    task, other = story.task(), story.task(diff=diff_of("a.txt", "one", "three"))
    moved = story.commit("main", {"b.txt": "new\n"})
    commit = story.pr(task)["commit"]
    assert story.shop.git("rev-parse", f"{commit}^") == moved
    base = story.shop.git("rev-parse", "main~1")
    story.commit("main", {"a.txt": "otherwise\n"})
    published = story.pr(other)
    assert published["conflicts"] == ["a.txt"]
    assert "main has moved on otherwise in a.txt: a person has to merge" in published["notes"][0]
    assert story.shop.git("rev-parse", f"{published['commit']}^") == base, "the real base"
    assert "**The base has moved on otherwise**" in (story.shop.pulls[2].body or "")


def test_what_others_pushed_to_the_branch_is_left_alone(story: Story) -> None:
    task = story.task()
    branch = story.pr(task)["pull_request"]["branch"]
    theirs = story.commit(branch, {"theirs.txt": "mine\n"})
    story.follow_up(task, "Say three", diff_of("a.txt", "one", "three"))
    assert "is not what Cloister pushed last: somebody else pushed to it" in story.refused(task, status=2)
    assert story.shop.find_commit(branch) == theirs


def test_a_branch_of_that_name_that_is_not_ours_is_left_alone(story: Story) -> None:
    task = story.task("fix")
    theirs = story.commit(f"cloister/{task}-fix", {"theirs.txt": "mine\n"})
    assert "somebody else pushed to it" in story.refused(task, status=2)
    assert story.shop.find_commit(f"cloister/{task}-fix") == theirs


def test_a_pull_request_that_a_person_closed_stays_closed(story: Story) -> None:
    task = story.task()
    story.pr(task)
    story.pull.state = "closed"
    assert "somebody closed the pull request" in story.refused(task, status=2)
    assert story.pr(task, "--again")["pull_request"]["number"] == 2


def test_a_branch_that_was_deleted_comes_back_when_asked_for(story: Story) -> None:
    task = story.task()
    branch = story.pr(task)["pull_request"]["branch"]
    story.shop.git("update-ref", "-d", f"refs/heads/{branch}")
    story.shop.follow_branches()
    assert "somebody closed the pull request" in story.refused(task, status=2)
    published = story.pr(task, "--again")
    assert story.shop.find_commit(branch) == published["commit"]


def test_a_repository_that_was_renamed_gets_its_pull_request(story: Story) -> None:
    task = story.task()
    story.github.accounts.rename(story.shop, "team/store")
    assert "/team/store/pull/1" in story.pr(task)["pull_request"]["address"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/team/shop(.git)?/git-receive-pack", 0), ("/repos/team/shop/pulls", 502)],
    ids=["push", "open"],
)
@pytest.mark.parametrize("after", [True, False], ids=["done", "not done"])
def test_a_fault_in_the_middle_leaves_one_branch_and_one_pull_request(
    story: Story, path: str, status: int, after: bool
) -> None:
    task = story.task()
    story.github.faults.append(Fault(method="POST", path=path, status=status, after=after))
    first = story.installation.run("pr", task)
    assert first.exit_code in (0, 3), first.output
    assert (first.exit_code == 0) is after, first.output
    assert story.github.faults == []
    story.pr(task)
    assert len(story.shop.branches()) == 2
    assert list(story.shop.pulls) == [1]
    assert story.shop.git("rev-list", "--count", f"main..{story.pull.head}") == "1"


def test_the_default_branch_is_never_pushed_and_a_rule_of_the_forge_is_told(story: Story) -> None:
    main = story.shop.find_commit("main")
    task = story.task("fix")
    story.shop.protected.add(f"cloister/{task}-fix")
    assert "GH006: Protected branch update failed" in story.refused(task, status=5)
    assert story.shop.find_commit("main") == main


def test_a_push_that_nobody_knew_of_is_gone_on_with_although_the_base_moved(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(*_: object) -> None:
        raise UnreachableError("nobody knows")

    task = story.task()
    story.github.faults.append(Fault(method="POST", path=".*/git-receive-pack", status=0, after=True))
    with monkeypatch.context() as patched:
        patched.setattr(MirrorBranches, "_explain", killed)
        assert story.installation.run("pr", task).exit_code == 3
    (branch,) = set(story.shop.branches()) - {"main"}
    arrived = story.shop.find_commit(branch)
    story.commit("main", {"b.txt": "new\n"})
    commit = story.pr(task)["commit"]
    assert story.shop.git("rev-parse", f"{commit}^1") == arrived
    assert set(story.shop.branches()) == {"main", branch}
    assert story.shop.git("log", "-1", "--format=%s", commit) == "Merge main"


def test_a_draft_is_given_to_people_and_made_ready(story: Story) -> None:
    task = story.task()
    assert "--draft and --ready do not go together" in story.refused(task, "--draft", "--ready", status=2)
    drafted = story.pr(task, "--draft", "--assignee", "ann", "--assignee", "nobody")
    assert (story.pull.draft, story.pull.assignees) == (True, ["ann"])
    assert "nobody cannot be given the pull request" in drafted["notes"]
    assert "main is protected: its rules say when this may be merged" in drafted["notes"]
    story.shop.protected.clear()
    notes = story.pr(task, "--ready")["notes"]
    assert not story.pull.draft
    assert not [note for note in notes if "protected" in note or "draft" in note]
    story.pr(task, "--ready")


def test_a_task_shows_what_it_proposed(story: Story) -> None:
    task = story.task()
    assert "proposed" not in story.installation.run("task", "show", task).output
    story.pr(task)
    address = f"{story.github.url}/team/shop/pull/1"
    assert f"pull request 1 into main: {address}" in story.installation.run("task", "show", task).output
    for command in (("task", "show", task, "--json"), ("task", "list", "--json")):
        told = json.loads(story.installation.run(*command).stdout)
        told = told[0] if isinstance(told, list) else told
        assert (told["pull_request"]["number"], told["pull_request"]["address"]) == (1, address)


@pytest.mark.parametrize("status", [0, 502])
@pytest.mark.parametrize("path", [".*/objects/batch", "/lfs-store/.*"])
def test_a_fault_in_the_middle_of_large_files_leaves_one_branch_and_one_pull_request(
    story: Story, path: str, status: int
) -> None:
    story.commit("main", {"a.txt": "one\n", ".gitattributes": "*.bin filter=lfs -text\n"})
    task = story.task(diff=diff_of("b.bin", None, "large"))
    method = "PUT" if path.startswith("/lfs") else "POST"
    story.github.faults.append(Fault(method=method, path=path, status=status, times=99))
    assert "so nothing was pushed" in story.refused(task, status=3)
    story.github.faults.clear()
    story.github.faults.append(Fault(method=method, path=path, status=status, after=True))
    story.pr(task)
    story.pr(task)
    assert list(story.shop.branches()) == [story.pull.head, "main"]
    assert "oid sha256:" in story.show(f"{story.pull.head}:b.bin")
    assert len(set(story.github.large.asked)) == 2, "given and looked at, once each or again after the fault"


def test_large_files_that_take_too_long_are_given_up(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.commit("main", {"a.txt": "one\n", ".gitattributes": "*.bin filter=lfs -text\n"})
    task = story.task(diff=diff_of("b.bin", None, "large"))
    with monkeypatch.context() as patched:
        patched.setattr("cloister.forges.large_publish.FETCH_SECONDS", 1.0)
        story.github.faults.append(Fault(method="PUT", path="/lfs-store/.*", status=0, seconds=5.0))
        assert "did not arrive within 0 minutes, so nothing was pushed" in story.refused(task, status=3)
    story.pr(task)


def test_what_was_made_of_a_repository_is_not_pushed_to_another_one_that_has_its_name(story: Story) -> None:
    """Who reads the one need not be who reads the other."""
    early, late = story.task(), story.task("Say two")
    story.pr(late)
    first = story.shop
    story.github.accounts.rename(first, "team/store")
    story.shop = story.github.accounts.add("team/shop", writers=["ann"])
    story.commit("main", {"b.txt": "other\n"})
    assert "has no history in common with what the task began at" in story.refused(early, status=2)
    assert "is another repository than the one that task" in story.refused(late, status=2)
    story.github.accounts.repositories.remove(story.shop)
    story.shop = first
    assert story.pr(early)["pull_request"]["address"].endswith("/team/store/pull/2"), "the twin"


def test_what_was_renamed_out_of_the_settings_is_not_pushed_to(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISTER_GITHUB_REPOSITORIES", "team/*")
    task = story.task()
    story.github.accounts.rename(story.shop, "rival/shop")
    assert "other repositories than rival/shop" in story.refused(task, status=5)
    story.github.accounts.rename(story.shop, "team/store")
    story.pr(task)
