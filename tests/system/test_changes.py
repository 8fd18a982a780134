"""The change that an agent made, taken out of a real sandbox and put into a real work tree."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from cloister.model.task import Verdict
from cloister.sandboxes.oci.image import OciImageStore

from .conftest import made_installation
from .installation import Installation, Running
from .project import Project

FILES = {
    "a.txt": "one\n",
    "gone.txt": "to be deleted\n",
    "old/name.txt": "".join(f"line {n}\n" for n in range(20)),
    "run.sh": "#!/bin/sh\n",
    ".gitignore": "ignored/\n*.log\n",
}
KINDS = {
    "changed": "echo two >a.txt",
    "new": "mkdir -p deep/er; echo new >deep/er/new.txt",
    "deleted": "rm gone.txt",
    "renamed": "mkdir new; mv old/name.txt new/name.txt; rmdir old",
    "mode": "chmod +x run.sh",
    "symlink": "ln -s /etc/passwd link; ln -s a.txt near",
    "file to symlink": "rm a.txt; ln -s run.sh a.txt",
    "file to directory": "rm a.txt; mkdir a.txt; echo x >a.txt/b",
    "binary": "head -c 3000 /dev/urandom >image.bin; printf 'a\\0b' >nul",
    "odd names": "echo x >'a b'; echo y >$'tab\\tname'; echo >$'\\xff'; chmod +x $'\\xff'; echo q >'\"quoted\"'",
    "without newline": "printf x >a.txt",
    "empty": "touch empty; mkdir nothing",
    "everything": "echo two >a.txt; rm gone.txt; chmod +x run.sh; mv old new; head -c 99 /dev/urandom >b; ln -s b c",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "project", FILES)


@pytest.fixture(scope="module")
async def running(images: OciImageStore, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """An installation with the same project, in which all tests of this file run their tasks."""
    place = tmp_path_factory.mktemp("changes")
    with made_installation(place, Project.create(place / "project", FILES)) as installation:
        async with installation.opened() as opened:
            yield opened


@pytest.fixture
def clone(project: Project, tmp_path: Path) -> Iterator[Project]:
    """A clean work tree at the task's commit."""
    subprocess.run(["git", "clone", "--quiet", str(project.path), str(tmp_path / "clone")], check=True)
    yield Project(tmp_path / "clone")


def _tree_of(project: Project) -> str:
    """The tree that a commit of everything would have."""
    project.git("add", "--all")
    return project.git("write-tree").strip()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_change_makes_the_same_tree_here_as_there(running: Running, clone: Project, kind: str) -> None:
    there = "git add --all && git write-tree >/cloister/out/message.md"
    finished = await running.run(f"{KINDS[kind]}\n{there}")
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.events
    diff = finished.outcome.change.diff  # type: ignore[union-attr]
    await anyio.run_process(["git", "-C", str(clone.path), "apply", "--binary", "-"], input=diff)
    assert _tree_of(clone) == finished.outcome.message.strip()
    assert finished.outcome.change.stats.files > 0  # type: ignore[union-attr]


async def test_an_empty_change_is_an_outcome(running: Running) -> None:
    for command in (
        "true",
        "echo two >a.txt; git checkout a.txt",
        "touch a.txt",
        "mkdir -p ignored; echo >ignored/x; >x.log",
    ):
        finished = await running.run(command)
        assert finished.outcome.verdict is Verdict.SUCCEEDED
        assert finished.diff == ""


async def test_a_submodule_is_a_pointer(running: Running) -> None:
    script = """
git init -q sub && cd sub && git config user.email a@b && git config user.name a
echo x >x && git add x && git commit -qm x && git rev-parse HEAD >/cloister/out/message.md
"""
    finished = await running.run(script)
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome
    assert f"+Subproject commit {finished.outcome.message.strip()}" in finished.diff
    assert "new file mode 160000" in finished.diff


HISTORIES = {
    "commits": "echo two >a.txt; git commit -qam two; echo three >b.txt; git add b.txt; git commit -qm three",
    "rewrites": "echo two >a.txt; echo three >b.txt; git add -A; git commit -q --amend -m new; git gc -q --prune=now",
    "switches": "echo two >a.txt; echo three >b.txt; git add -A; git checkout -q -b other; git commit -qm two",
    "detaches": "git checkout -q --detach; echo two >a.txt; echo three >b.txt",
    "orphan": "git checkout -q --orphan lonely; echo two >a.txt; echo three >b.txt; git add -A; git commit -qm first",
    "rebase in the middle": (
        "git checkout -q -b x; echo x >a.txt; git commit -qam x; git checkout -q -; echo y >a.txt; git commit -qam y; "
        "git rebase -q x 2>/dev/null; echo two >a.txt; echo three >b.txt; test -d .git/rebase-merge"
    ),
    "no repository": "rm -rf .git; echo two >a.txt; echo three >b.txt",
    "another repository": "rm -rf .git; git init -q .; git add -A; echo two >a.txt; echo three >b.txt",
    "broken repository": "echo garbage >.git/HEAD; rm -rf .git/objects; echo two >a.txt; echo three >b.txt",
    "resets": "echo two >a.txt; echo three >b.txt; git add -A; git commit -qm x; git reset -q --soft HEAD~1",
}


@pytest.mark.parametrize("history", HISTORIES)
async def test_what_the_agent_does_to_history_does_not_matter(running: Running, history: str) -> None:
    before = "git config user.email a@example.com; git config user.name a\n"
    finished = await running.run(before + HISTORIES[history])
    assert finished.outcome.verdict is Verdict.SUCCEEDED, (finished.outcome, finished.events)
    lines = [line for line in finished.diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert lines == ["-one", "+two", "+three"]


@pytest.mark.parametrize(
    "script",
    [
        "cd /; rm -rf /workspace/project",
        "cd /; mv /workspace/project /x; ln -s /x /workspace/project",
        "rm -rf * .git*",
    ],
)
async def test_a_work_tree_that_is_gone_is_a_verdict(running: Running, script: str) -> None:
    outcome = (await running.run(script)).outcome
    assert outcome.verdict in (Verdict.SUCCEEDED, Verdict.FAILED), outcome
    assert outcome.verdict is Verdict.SUCCEEDED or outcome.reason


def test_a_change_is_shown_and_applied(installation: Installation, clone: Project) -> None:
    ran = installation.cloister(*installation.task(KINDS["everything"]))
    task = ran.events[-1]["task"]
    [left] = ran.events[-1]["attempts"]
    diff = installation.cloister("diff", task)
    assert diff.stdout == left["diff"]
    assert set(left) >= {"verdict", "reason", "exit_status", "message", "checks", "timings", "diff", "diff_stats"}
    assert set(left["timings"]) >= {"provision", "setup", "agent", "output", "teardown", "accepted_to_agent_seconds"}
    assert installation.cloister("apply", task, cwd=clone.path).code == 0
    assert (clone.path / "a.txt").read_text() == "two\n"
    assert not (clone.path / "gone.txt").exists()
    assert (clone.path / "c").readlink() == Path("b")


def test_a_change_that_does_not_fit_is_refused_or_merged(installation: Installation, clone: Project) -> None:
    task = installation.cloister(*installation.task("sed -i s/19/nineteen/ old/name.txt")).events[-1]["task"]
    text = (clone.path / "old/name.txt").read_text().replace("line 16\n", "line sixteen\n")
    clone.commit({"old/name.txt": text})
    refused = installation.cloister("apply", task, cwd=clone.path)
    assert refused.code == 2, refused
    assert (clone.path / "old/name.txt").read_text() == text
    assert clone.git("status", "--porcelain") == ""
    merged = installation.cloister("apply", "--3way", task, cwd=clone.path)
    assert "line sixteen" in (clone.path / "old/name.txt").read_text()
    assert "nineteen" in (clone.path / "old/name.txt").read_text(), merged


def test_tasks_are_listed_shown_and_waited_for(installation: Installation) -> None:
    ran = installation.cloister("run", "--detach", "--json", *installation.task("echo hello; exit 2")[2:])
    assert ran.code == 0, ran
    task = ran.events[0]["task"]
    assert installation.cloister("task", "wait", task).code == 1
    [listed] = installation.cloister("task", "list", "--json").events[0]
    assert (listed["task"], listed["verdict"]) == (task, "failed")
    assert installation.cloister("task", "show", task[:8]).code == 0
    logs = installation.cloister("task", "logs", "--json", "--phase", "agent", task).events
    assert {event["phase"] for event in logs} == {"agent"}
    assert "hello" in installation.cloister("task", "logs", task).stdout
