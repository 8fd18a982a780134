import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cloister.model.sandbox import Exit
from cloister.sandboxes.fake import Hold, Print, Program

from .conftest import DIFF, Installation

ANOTHER = 4242
"""A user id that is not root's."""


@pytest.fixture
def task(installation: Installation) -> str:
    """A task that succeeded."""
    done = installation.run("run", "--command", "make fix", "fix the test")
    assert done.exit_code == 0, done.output
    return done.stdout.splitlines()[0].removeprefix("task ")


@pytest.fixture
def waiting(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> str:
    """A task that no worker has taken."""
    for module in ("run", "task"):
        monkeypatch.setattr(f"cloister.cli.{module}.start_background_worker", lambda context, task: None)
    done = installation.run("run", "--detach", "--command", "make fix", "fix the test")
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.mark.parametrize(
    "arguments",
    [
        *(("task", command, "none") for command in ("show", "logs", "wait", "cancel")),
        ("diff", "none"),
        ("apply", "none"),
        ("snapshot", "rm", "none"),
        ("egress", "log", "none"),
        ("egress", "propose", "none"),
        ("secret", "rm", "web", "NONE"),
    ],
)
def test_what_is_not_there_exits_2(installation: Installation, arguments: tuple[str, ...]) -> None:
    done = installation.run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "error: " in done.stderr


def test_tasks_are_listed_newest_first(installation: Installation, task: str, waiting: str) -> None:
    lines = installation.run("task", "list").stdout.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [[waiting, "queued, place 1"], [task, "succeeded"]]
    listed = json.loads(installation.run("task", "list", "--json", "--limit", "1").stdout)
    assert [(entry["task"], entry["state"], entry["verdict"]) for entry in listed] == [(waiting, "queued", None)]


def test_a_list_is_of_what_is_looked_for(installation: Installation, task: str, waiting: str) -> None:
    def found(*options: str) -> list[str]:
        done = installation.run("task", "list", *options)
        assert done.exit_code == 0, done.output
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    assert found("--state", "queued") == [waiting]
    assert found("--state", "succeeded") == found("--state", "finished") == [task]
    assert found("--text", "FIX the") == found("--env", str(installation.project)) == [waiting, task]
    assert found("--text", "nothing like it") == found("--env", "other") == found("--state", "failed") == []
    assert found("--text", waiting) == [waiting]
    refused = installation.run("task", "list", "--state", "over")
    assert refused.exit_code == 2 and "'queued'" in refused.stderr


def test_a_task_is_shown_by_the_beginning_of_its_id(installation: Installation, task: str) -> None:
    done = installation.run("task", "show", task[:11])
    assert done.stdout.splitlines()[0].startswith(f"task {task} succeeded in")
    assert "  asked      fix the test\n" in done.stdout
    assert "by command: make fix\n" in done.stdout
    assert f"  next       cloister diff {task} " in done.stdout
    shown = json.loads(installation.run("task", "show", task, "--json").stdout)
    assert shown["attempts"][0]["diff"] == DIFF.decode()


def test_logs_are_the_events_again(installation: Installation, task: str) -> None:
    assert "  | working" in installation.run("task", "logs", task).stdout.splitlines()
    agent = installation.run("task", "logs", task, "--phase", "agent").stdout.splitlines()
    assert agent[0] == "agent: network off, no secrets"
    assert not [line for line in agent if line.startswith("provision")]
    events = [json.loads(line) for line in installation.run("task", "logs", task, "--json").stdout.splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("task_accepted", "task_finished")
    assert events[-1]["attempts"][0]["diff"] == DIFF.decode()
    assert installation.run("task", "logs", task, "--follow").exit_code == 0


def test_waiting_ends_as_the_task_did(installation: Installation, task: str) -> None:
    assert installation.run("task", "wait", task).exit_code == 0
    installation.node.programs["agent"] = Program(ends=Exit(status=9))
    failed = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
    assert installation.run("task", "wait", failed, "--json").exit_code == 1
    for command, line in (("wait", -3), ("show", 0)):
        assert "the agent ended with status 9" in installation.run("task", command, failed).stdout.splitlines()[line]


def test_what_is_archived_is_listed_when_asked_for(installation: Installation, task: str, waiting: str) -> None:
    refused = installation.run("task", "archive", waiting)
    assert (refused.exit_code, "only what is over is archived" in refused.stderr) == (2, True), refused.output
    assert installation.run("task", "archive", task[:10]).stdout == f"task {task} archived\n"
    assert [line.split("\t")[0] for line in installation.run("task", "list").stdout.splitlines()] == [waiting]
    listed = installation.run("task", "list", "--archived").stdout
    assert [line.split("\t")[0] for line in listed.splitlines()] == [task]
    assert installation.run("task", "restore", task).stdout == f"task {task} restored\n"
    assert installation.run("task", "list").stdout.count(task) == 1


def test_a_detached_task_is_done_by_a_worker(installation: Installation, waiting: str) -> None:
    shown = installation.run("task", "show", waiting).stdout.splitlines()
    assert shown[0] == f"task {waiting} is queued, place 1"
    assert shown[-1].startswith(f"  next       cloister task logs {waiting} --follow")
    assert installation.run("worker", "--until-idle").exit_code == 0
    assert installation.run("task", "wait", waiting).exit_code == 0


def test_a_task_that_waits_is_cancelled_at_once(installation: Installation, waiting: str) -> None:
    assert installation.run("task", "cancel", waiting).stdout == f"task {waiting} cancelled\n"
    assert installation.run("task", "wait", waiting).exit_code == 4
    assert installation.run("task", "cancel", waiting).exit_code == 0
    assert installation.node.commands == []


def test_cleaning_cancels_what_nobody_works_on(installation: Installation, waiting: str) -> None:
    report = json.loads(installation.run("clean", "--json").stdout)
    assert report == {"attempts": 1, "sandboxes": 0, "snapshots": 0}
    assert installation.run("clean").stdout == "attempts: 0, sandboxes: 0, snapshots: 0\n"


def test_there_is_no_change_before_the_end(installation: Installation, waiting: str) -> None:
    for command in ("diff", "apply"):
        done = installation.run(command, waiting)
        assert done.exit_code == 2
        assert f"hint: wait for it: cloister task wait {waiting}" in done.stderr


def test_a_change_is_printed_byte_by_byte(installation: Installation) -> None:
    installation.node.diff = DIFF + b"+\xff\x1b[31m\r\n"
    task = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
    assert installation.run("diff", task).stdout_bytes == installation.node.diff
    printed = installation.run("diff", task, "--json").stdout
    assert json.loads(printed)["diff"].encode(errors="surrogateescape") == installation.node.diff
    assert printed.isascii()


def test_a_change_is_applied(installation: Installation, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    below = installation.project / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    done = installation.run("apply", task)
    assert done.exit_code == 0, done.output
    assert (installation.project / "a.txt").read_text() == "two\n"
    assert installation.git("status", "--porcelain") == " M a.txt\n"


def test_a_change_that_does_not_fit_is_refused_whole(installation: Installation, task: str) -> None:
    new = b"diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1 @@\n+new\n"
    installation.node.diff = new + DIFF
    task = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
    (installation.project / "a.txt").write_text("mine\n")
    done = installation.run("apply", task)
    assert done.exit_code == 2
    assert "which was left as it is" in done.stderr
    assert "--3way" in done.stderr
    assert installation.git("status", "--porcelain") == " M a.txt\n"
    assert (installation.project / "a.txt").read_text() == "mine\n"


def test_a_change_is_merged_when_asked(installation: Installation) -> None:
    path = installation.project / "a.txt"
    path.write_text("one\n\n\n\n\n\n\n\n\nlast\n")
    installation.git("commit", "--quiet", "--all", "--message=long")
    path.write_text("two\n\n\n\n\n\n\n\n\nlast\n")
    installation.node.diff = installation.git("diff", "--full-index").encode()
    installation.git("checkout", "--quiet", "a.txt")
    task = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
    path.write_text("zero\none\nand\n\n\n\n\n\n\n\nmine\n")
    assert "commit or stash your own changes" in installation.run("apply", task, "--3way").stderr
    installation.git("commit", "--quiet", "--all", "--message=mine")
    assert installation.run("apply", task).exit_code == 2
    conflicted = installation.run("apply", task, "--3way")
    assert conflicted.exit_code == 2
    assert "conflict" in conflicted.stderr
    assert "<<<<<<<" in path.read_text()


@pytest.fixture
def anothers(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A clone of the project that belongs to somebody else, where they can enter it; the current directory."""
    with TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        clone = Path(folder) / "project"
        shutil.copytree(installation.project, clone)
        for path in (clone, *clone.rglob("*")):
            os.chown(path, ANOTHER, ANOTHER)
        monkeypatch.chdir(clone)
        yield clone


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("options", [(), ("--3way",)])
def test_what_root_applies_belongs_to_the_owner_of_the_work_tree(
    installation: Installation, anothers: Path, options: tuple[str, ...]
) -> None:
    (installation.project / "a.txt").write_text("two\n")
    installation.node.diff = installation.git("diff", "--full-index").encode()
    task = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
    done = installation.run("apply", task, *options)
    assert done.exit_code == 0, done.output
    path = anothers / "a.txt"
    assert (path.read_text(), path.stat().st_uid) == ("two\n", ANOTHER)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_root_applies_where_the_owner_cannot_enter(installation: Installation, anothers: Path) -> None:
    anothers.parent.chmod(0o700)
    task = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
    assert installation.run("apply", task).exit_code == 0
    assert (anothers / "a.txt").read_text() == "two\n"


def test_nothing_can_be_written_outside_of_the_work_tree(installation: Installation) -> None:
    evil = DIFF.replace(b"a/a.txt", b"a/../evil").replace(b"b/a.txt", b"b/../evil")
    (installation.project.parent / "evil").write_text("one\n")
    for diff in (evil, DIFF.replace(b"a.txt", b".git/config")):
        installation.node.diff = diff
        task = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
        assert installation.run("apply", task).exit_code == 2
    assert (installation.project.parent / "evil").read_text() == "one\n"


def test_an_empty_change_is_applied_too(installation: Installation) -> None:
    installation.node.diff = b""
    installation.node.stats = type(installation.node.stats)(files=0, added=0, removed=0)
    task = installation.run("run", "--command", "x", "fix").stdout.splitlines()[0].removeprefix("task ")
    done = installation.run("apply", task)
    assert (done.exit_code, done.stdout) == (0, f"nothing changed in {installation.project}\n")


def test_outside_of_a_work_tree_nothing_is_applied(
    installation: Installation, task: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is in no work tree" in installation.run("apply", task).stderr


def test_a_task_in_two_attempts_has_two_changes(installation: Installation) -> None:
    installation.node.programs["agent"] = Program(steps=[Print(data=b"x\n")])
    done = installation.run("run", "--attempts", "2", "--command", "x", "fix")
    task = done.stdout.splitlines()[0].removeprefix("task ")
    assert installation.run("diff", task, "--attempt", "2").stdout_bytes == DIFF
    assert installation.run("diff", task, "--attempt", "3").exit_code == 2


def test_a_reader_that_leaves_cancels_the_task(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(line: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("cloister.cli.run.write_line", leave)
    installation.node.programs["agent"] = Program(steps=[Hold()])
    done = installation.run("run", "--json", "--command", "x", "fix")
    assert done.exit_code != 0
    assert installation.node.disks == {}
    (listed,) = json.loads(installation.run("task", "list", "--json").stdout)
    assert listed["verdict"] == "cancelled"
