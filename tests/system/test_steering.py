"""Steering a running task, as a user does: ending it gently, asking it, looking into it."""

import os
from pathlib import Path

from cloister.model.task import Verdict

from .installation import QUIET, Installation, printed

WORKS = "echo half >a.txt; echo up; trap 'echo last >>a.txt; exit 3' TERM; while :; do sleep 0.02; done"


# Cancelling


def test_a_grace_that_is_none_is_refused_and_changes_nothing(installation: Installation) -> None:
    for grace, why in (("soon", "must be a duration"), ("11m", "at most 10 minutes")):
        refused = installation.cloister("task", "cancel", "none", "--grace", grace)
        assert (refused.code, why in refused.stderr) == (2, True), refused


def test_what_a_cancelled_agent_changed_is_collected_when_asked(installation: Installation) -> None:
    environment = f'{QUIET}[checks]\ntest = "touch /dev/null"\n'
    with installation.started(*installation.task(WORKS, environment=environment)) as command:
        command.until("output", text="up")
        cancelled = installation.cloister("task", "cancel", command.task, "--collect")
        assert cancelled.code == 0 and "1 file, +2 -1" in cancelled.stdout and "cancelled" in cancelled.stdout, (
            cancelled
        )
        ended = command.end()
    assert (ended.code, ended.events[-1]["verdict"]) == (4, "cancelled")
    names = [event["event"] for event in [*command.events, *ended.events]]
    assert "end_requested" in names and "check_finished" not in names
    diff = installation.cloister("diff", command.task).stdout
    assert "+half\n+last\n" in diff, "its last words count"
    assert installation.cloister("apply", command.task).code == 0


def test_what_a_cancelled_agent_changed_is_thrown_away_otherwise(installation: Installation) -> None:
    with installation.started(*installation.task(WORKS)) as command:
        command.until("output", text="up")
        assert installation.cloister("task", "cancel", command.task, "--grace", "20s").code == 0
        ended = command.end()
    assert (ended.code, ended.events[-1]["attempts"][0]["diff"]) == (4, None)


# Asking


WRITES = {
    "a new file": "echo x >new",
    "a file of the commit": "echo x >a.txt",
    "removal": "rm a.txt",
    "a mode": "chmod 777 a.txt",
    "another name for the folder": "mv /workspace /elsewhere && mv /elsewhere /workspace",
    "another way to it": "echo x >/proc/self/root/workspace/project/a.txt",
    "a mount": "mount -o remount,rw /workspace",
    "a mount above it": "mount --bind / /mnt && echo x >/mnt/workspace/project/a.txt",
    "a namespace": "unshare --user --mount --map-root-user sh -c 'mount -o remount,rw,bind /workspace; echo x >a.txt'",
    "git": "git -c user.name=A -c user.email=a@example.com commit --allow-empty --message x",
}


def _tries() -> str:
    tries = [f"(cd /workspace/project; {text}) >/dev/null 2>&1 && echo 'did {name}'" for name, text in WRITES.items()]
    elsewhere = "echo home >~/x; echo tmp >/tmp/x; echo said >/cloister/out/message.md"
    return "; ".join([*tries, "git status --short", "cat a.txt", elsewhere])


async def test_nobody_writes_to_the_work_tree_of_a_question(installation: Installation) -> None:
    environment = f'{QUIET}[checks]\ntest = "false"\n'
    async with installation.opened() as running:
        asked = await running.run(_tries(), environment=environment, ask=True)
        twin = await running.run(_tries(), environment=QUIET)
    assert asked.printed("agent") == "one\n", "and it can be read"
    assert (asked.outcome.verdict, asked.outcome.message, asked.diff) == (Verdict.SUCCEEDED, "said\n", "")
    assert asked.outcome.checks == () and "check_finished" not in asked.names()
    done = {line.removeprefix("did ") for line in twin.printed("agent").splitlines() if line.startswith("did ")}
    assert {"a new file", "a file of the commit", "removal", "another way to it", "git"} <= done and twin.diff


def test_a_question_has_no_checks_to_pass(installation: Installation) -> None:
    refused = installation.cloister(*installation.task(), "--ask", "--require-checks")
    assert (refused.code, "no checks run" in refused.stderr) == (2, True), refused


# What is given with a prompt


PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


def test_what_cannot_be_given_is_refused_and_changes_nothing(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    os.truncate(_made(tmp_path / "large"), 11 * 1024 * 1024)
    os.mkfifo(tmp_path / "pipe")
    many = [argument for _ in range(21) for argument in ("--file", str(tmp_path / "notes.txt"))]
    for given, why in (
        (["--file", tmp_path / "none"], "No such file"),
        (["--file", tmp_path], "no regular file"),
        (["--file", tmp_path / "pipe"], "no regular file"),
        (["--file", tmp_path / "large"], "at most 10.0 MiB"),
        (["--image", tmp_path / "notes.txt"], "is no picture"),
        (many, "at most 20"),
    ):
        refused = installation.cloister(*installation.task(), *given)
        assert (refused.code, why in refused.stderr) == (2, True), refused
    assert installation.cloister("task", "list", "--json").stdout == "[]\n"
    assert not list(installation.state.glob("files/*"))


def test_what_is_given_is_there_and_cannot_be_changed(installation: Installation, tmp_path: Path) -> None:
    hostile = tmp_path / "-a b\n;$(id).txt"
    hostile.write_text("first")
    (tmp_path / "shot.png").write_bytes(PNG)
    change = "echo x >shot.png || rm -f shot.png || chmod 777 shot.png"
    look = f"cd /cloister/in/given; ls; cat *.txt; echo; {change}; od -c shot.png | head -1"
    ran = installation.cloister(
        *installation.task(look), "--file", hostile, "--file", hostile, "--image", tmp_path / "shot.png"
    )
    assert ran.code == 0, ran
    said = printed(ran.events).splitlines()
    assert said[:4] == ["a_b_id_-2.txt", "a_b_id_.txt", "shot.png", "firstfirst"], said
    assert "P   N   G" in said[4]
    task = ran.events[0]["task"]
    shown = installation.cloister("task", "show", task).stdout
    assert "given a_b_id_.txt, a_b_id_-2.txt, shot.png" in shown


def _made(path: Path) -> Path:
    path.touch()
    return path
