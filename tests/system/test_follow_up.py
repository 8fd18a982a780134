"""Follow-ups: what of a turn is there in the next one, what never is, and what is left when somebody is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cloister.model.secret import SecretValue
from cloister.model.snapshot import final_disk_of
from cloister.model.task import Verdict

from .installation import Event, Finished, Installation, Running, printed
from .project import Project

CANARY = "canary-5b1c9f70e2"
PREPARED = """
[secrets]
TOKEN = { mode = "setup" }
[setup]
script = "echo setup $TOKEN | tr -d '\\\\n' | wc -c; echo made >made"
maintenance = "echo maintained $(cat a.txt) $TOKEN | wc -w"
[network]
setup = "full"
[checks]
alone = "test ! -e ignored && test ! -e /opt/mine && grep -q two a.txt"
"""
LOOK = f"grep -a -l -s {CANARY} /proc/[0-9]*/environ | wc -l; grep -rs {CANARY} /root /workspace /opt /etc | wc -l"


@pytest.fixture
def project(tmp_path) -> Project:
    return Project.create(tmp_path / "project", {"a.txt": "one\n", ".gitignore": "ignored\nmade\n"})


async def followed(running: Running, former: Finished, prompt: str = "go on") -> Finished:
    """Carry out one more turn, and return it with its own events alone."""
    task, _ = await running.application.intake.follow_up(former.status.task.id, prompt)
    await running.application.work(until_idle=True)
    finished = await running.finished(task)
    seq = finished.status.last_turn.seq
    return replace(finished, events=[event for event in finished.events if event["seq"] >= seq])


def policies(events: Sequence[Event]) -> list[tuple[str, str]]:
    return [(event["phase"], event["mode"]) for event in events if event["event"] == "policy_applied"]


WORK = f"""
if test -e ignored; then
  cat ignored made /root/memory; git log --format=%s | head -1; {LOOK}; echo three >>a.txt
else
  echo two >>a.txt; echo kept >ignored; echo remembered >/root/memory; echo x >/opt/mine
  git -c user.name=a -c user.email=a@b.example commit -qam mine
fi
echo "I am done." >/cloister/out/message.md
"""


async def test_a_follow_up_has_what_the_agent_left_and_nothing_of_setup(installation: Installation) -> None:
    async with installation.opened() as running:
        first = await running.run(WORK, environment=PREPARED, secrets={"TOKEN": SecretValue(CANARY)})
        assert first.printed("setup") == f"{len('setup ') + len(CANARY)}\n", "the twin: setup had the secret"
        assert policies(first.events) == [("setup", "full"), ("agent", "off"), ("output", "off")], "and a network"
        second = await followed(running, first)
        third = await followed(running, second)
    assert second.printed("agent") == "kept\nmade\nremembered\nmine\n0\n0\n"
    for turn in (second, third):
        names = turn.names()
        assert "final_disk_resumed" in names
        assert {"snapshot_hit", "snapshot_missed", "secret_delivered"}.isdisjoint(names)
        assert [event["phase"] for event in turn.events if event["event"] == "phase_started"] == [
            *("provision", "agent", "output", "teardown")
        ]
        assert policies(turn.events) == [("agent", "off"), ("output", "off")]
        assert [check.ok for check in turn.outcome.checks] == [True], "the clean room has nothing of any turn"
    assert "\n+two\n+three\n+three\n" in third.diff, "always against the task's base"
    assert set(installation.final_disks) == {f"{first.status.task.id}-{number}-1" for number in (1, 2, 3)}
    assert CANARY not in json.dumps(second.events)


async def test_an_expired_disk_is_told_of_and_the_change_is_applied_after_setup(installation: Installation) -> None:
    command = "cat a.txt; ls ignored made /root/memory 2>&1 | sort; " + WORK
    async with installation.opened() as running:
        first = await running.run(command, environment=PREPARED, secrets={"TOKEN": SecretValue(CANARY)})
        catalog = running.application.tools.catalog
        record = await catalog.find(final_disk_of(f"{first.status.task.id}-1-1"))
        assert record is not None
        await catalog.add(replace(record, expires_at=datetime.now(UTC)))
        second = await followed(running, first)
        (left,) = [each for each in await catalog.list() if each.attempt is not None]
    assert left.attempt == f"{first.status.task.id}-2-1", "what has expired is removed"
    (missed,) = [event for event in second.events if event["event"] == "final_disk_missed"]
    assert missed["reason"] in ("its disk has expired", "its disk is not kept any more")
    assert second.printed("maintenance") == "3\n", "on the base, which says `one` alone, with the secret"
    assert second.printed("agent").startswith("one\ntwo\n"), "and then the change"
    assert "made" in second.printed("agent")
    assert "cannot access 'ignored'" in second.printed("agent")
    assert policies(second.events)[0] == ("setup", "full")


def test_a_follow_up_from_the_command_line(installation: Installation) -> None:
    command = 'cat "$CLOISTER_PROMPT_FILE" >>prompts; echo x >>a.txt; echo "I wrote x." >/cloister/out/message.md; '
    command += "echo ready; test -e ignored || { echo x >ignored; sleep 10; }"
    command += "; ls /cloister/in/given; cat /cloister/in/given/notes*"
    notes, shot = installation.state.with_name("notes.txt"), installation.state.with_name("shot.png")
    notes.write_text("first\n")
    shot.write_bytes(b"\x89PNG\r\n\x1a\n")
    with installation.started(*installation.task(command, prompt="write x"), "--file", notes) as started:
        started.until("output", text="ready")
        refused = installation.cloister("task", "follow-up", started.task, "more")
        assert (refused.code, "is running" in refused.stderr) == (2, True), refused
        assert started.end().code == 0
    notes.write_text("second\n")
    task = started.task
    wrong = installation.cloister("task", "follow-up", task, "--attempt", "2", "more")
    assert (wrong.code, "has no attempt 2" in wrong.stderr) == (2, True), wrong
    assert installation.cloister("task", "follow-up", task, " ").code == 2
    refused = installation.cloister("task", "follow-up", task, "--file", installation.state / "none", "more")
    assert (refused.code, "No such file" in refused.stderr) == (2, True), refused
    files = ("--file", notes, "--image", shot)
    ran = installation.cloister("task", "follow-up", task, "--json", *files, "--attempts", "2", "write more")
    assert ran.code == 0, ran
    assert (ran.events[0]["event"], ran.events[-1]["event"]) == ("turn_accepted", "task_finished")
    assert [attempt["number"] for attempt in ran.events[-1]["attempts"]] == [1, 2]
    assert ran.events[-1]["choice"] == {"attempt": 1, "reason": "the first of 2 that are as good"}
    [shown] = installation.cloister("task", "show", "--json", task).events
    assert [(turn["turn"], turn["prompt"]) for turn in shown["turns"]] == [(1, "write x"), (2, "write more")]
    diff = installation.cloister("diff", task).stdout
    assert "+## Turn 1: answered" in diff
    assert "+I wrote x." in diff
    assert "+write more" in diff
    assert "+## Turn 1" not in installation.cloister("diff", task, "--turn", "1").stdout
    assert "notes-2.txt\nnotes.txt\nshot.png\nsecond\nfirst\n" in printed(ran.events), "those of both turns"
    assert [[file["name"] for file in turn["files"]] for turn in shown["turns"]] == [
        ["notes.txt"],
        ["notes-2.txt", "shot.png"],
    ]
    recorded = installation.cloister("task", "recording", task, "--turn", "1").stdout
    assert "ready" in recorded and "second" not in recorded
    page = installation.cloister("task", "show", task).stdout
    assert "turn 2 of 2" in page
    assert "--turn 1" in page
    record = json.loads(installation.cloister("record", "show", "--json", task).stdout)["predicate"]
    assert (record["attempt"]["turn"], record["continues"]["attempt"]) == (2, f"{task}-1-1")
    assert record["continues"]["disk"] is not None


def test_one_of_two_attempts_is_cancelled_and_the_other_is_chosen(installation: Installation) -> None:
    arguments = installation.task("echo ready; sleep 10; echo x >>a.txt")
    with installation.started(*arguments[:-1], "--attempts", "2", arguments[-1]) as started:
        attempts = set()
        while len(attempts) < 2:
            attempts.add(started.until("output", text="ready")["attempt"])
        cancelled = installation.cloister("task", "cancel", started.task, "--attempt", "1")
        assert cancelled.code == 0, cancelled
        ended = started.end()
    assert ended.code == 0, ended
    verdicts = [attempt["verdict"] for attempt in ended.events[-1]["attempts"]]
    assert verdicts == ["cancelled", "succeeded"]
    assert ended.events[-1]["choice"] == {"attempt": 2, "reason": "the only one that succeeded"}
    assert set(installation.final_disks) == {f"{started.task}-1-2"}


CRASHES = ["before copy", "before rename", "before marker", "after marker", "after rename"]


def crashed(installation: Installation, point: str, *arguments: str | Path) -> str:
    """Run a command that dies while it keeps the disk, and return its task."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crash.py"), "keep_final_disk", point, *arguments],
        cwd=installation.project.path,
        env={**os.environ, "CLOISTER_STATE": str(installation.state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done
    return str(json.loads(done.stdout.splitlines()[0])["task"])


@pytest.mark.parametrize("point", CRASHES)
def test_half_a_disk_is_never_gone_on_from(installation: Installation, point: str) -> None:
    task = crashed(installation, point, *installation.task("cat ignored; echo x >>a.txt; echo kept >ignored; true"))
    assert installation.cloister("task", "wait", task).code == 0
    assert set(installation.final_disks) == {f"{task}-1-1"}
    ran = installation.cloister("task", "follow-up", "--json", task, "more")
    assert (ran.code, printed(ran.events)) == (0, "kept\n"), ran
    assert "+x\n+x\n" in installation.cloister("diff", task).stdout


def test_nothing_is_left_of_a_follow_up_that_was_killed(installation: Installation) -> None:
    ran = installation.cloister(*installation.task("echo x >>a.txt"))
    task = str(ran.events[0]["task"])
    for point in ("before rename", "after rename"):
        crashed(installation, point, "task", "follow-up", "--json", task, "more")
        assert installation.cloister("clean").code == 0
        assert set(installation.final_disks) == {f"{task}-1-1"}
        shown = installation.cloister("task", "show", "--json", task).events[0]
        assert shown["verdict"] == Verdict.CANCELLED
    assert installation.cloister("task", "follow-up", task, "more").code == 0, "it goes on from the first turn"
    reset = installation.cloister("env", "reset-cache", str(installation.project.path))
    assert reset.code == 0, reset
    assert list(installation.paths.snapshots.iterdir()) == []
