"""Steering a running task, as a user does: ending it gently, asking it, looking into it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cloister.model.task import Verdict

from .installation import QUIET, Installation, printed
from .terminal import User

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


# Looking in


WAITS = "echo up; until [ -e /root/go ]; do sleep 0.05; done; cat /root/go"
FACTS = (
    "grep -E '^(Cap|NoNew|Seccomp)' /proc/self/status; readlink /proc/self/ns/*; "
    "ls /proc/self/fd | wc -l; env | grep -v '^_=' | sort"
)


def _prompt(user: User) -> None:
    user.reads(r"[#$] (?:\x1b\[[0-9;?]*[A-Za-z]|\r)*$")


def _says(user: User, line: str) -> str:
    """Type a line, and return what it printed."""
    user.types(f'echo "<$({line})>"\n')
    found = user.reads(r"<(?!\$)([^>]*)>")[1].replace("\r\n", "\n")
    _prompt(user)
    return found


def test_a_shell_in_a_live_sandbox(installation: Installation) -> None:
    environment = f'{QUIET}[secrets]\nTOKEN = {{ mode = "setup" }}\n'.replace("[network]", 'script = "true"\n[network]')
    environment = f'name = "shop"\n{environment}'
    assert installation.cloister("secret", "set", "shop", "TOKEN", stdin="s3cret-value-of-setup").code == 0
    agent = f"({FACTS}) >/root/facts; {WAITS}"
    with installation.started(*installation.task(agent, environment=environment)) as command:
        command.until("output", text="up")
        refused = installation.cloister("task", "shell", command.task)
        assert (refused.code, "needs a terminal" in refused.stderr) == (2, True), refused
        with installation.at_terminal("task", "shell", command.task) as user:
            before = user.modes()
            _prompt(user)
            told = _says(user, f"({FACTS}) >/root/mine; diff /root/facts /root/mine | grep '^[<>]'")
            ours = {line.partition("=")[0].strip("<> ") for line in told.splitlines()}
            assert ours <= {"TERM", "PWD", "SHLVL", "OLDPWD", "BASH_ENV", "PS1"}, told
            assert _says(user, "pwd; tty; stty size; echo ${TOKEN-none} $TERM") == (
                "/workspace/project\n/dev/pts/0\n30 100\nnone xterm"
            )
            user.resizes(71, 17)
            assert _says(user, "sleep 0.3; stty size") == "17 71"
            _says(user, "curl -s -o /dev/null http://example.com/")
            user.types("sh -c 'echo r\"\"uns; exec sleep 1000'\n")
            user.reads("runs")
            user.types("\x03")
            _prompt(user)
            user.types("printf '\\033[31mred\\033[0m\\n'; echo seen >/root/go; exit 7\n")
            assert user.ends() == 7
            assert user.modes() == before
        ended = command.end()
    assert ended.code == 0, ended
    events = [*command.events, *ended.events]
    assert "seen\n" in printed(events), "the same disk"
    assert any(it["event"] == "egress_refused" and it["host"] == "example.com" for it in events), "the same policy"
    assert [event["event"] for event in events if event["event"].startswith("person")] == [
        "person_entered",
        "person_left",
    ]
    record = installation.cloister("record", "show", command.task, "--json")
    assert json.loads(record.stdout)["predicate"]["people"] == [{"shell": 1}], record
    header, *lines = installation.cloister("task", "recording", command.task, "--shell", "1").events
    assert header["version"] == 2
    assert "\x1b[31mred\x1b[0m" in "".join(text for _, kind, text in lines if kind == "o")
    assert any(kind == "r" and text == "71x17" for _, kind, text in lines)


@pytest.mark.skipif(shutil.which("runc") is None, reason="runc is not installed")
def test_a_shell_is_opened_by_runc_in_the_agents_own_namespaces(installation: Installation) -> None:
    """It joins the user namespace first, from which the network's, which is the host's, cannot be joined."""
    installation.variables["CLOISTER_RUNTIME"] = "runc"
    look = "for name in user net pid mnt ipc uts; do readlink /proc/self/ns/$name; done"
    with installation.started(*installation.task(f"({look}) >/root/facts; {WAITS}")) as command:
        command.until("output", text="up")
        with installation.at_terminal("task", "shell", command.task) as user:
            _prompt(user)
            assert _says(user, f"({look}) | diff - /root/facts && grep Seccomp: /proc/self/status") == "Seccomp:\t2"
            user.types("echo seen >/root/go; exit 7\n")
            assert user.ends() == 7
        assert command.end().code == 0


@pytest.mark.parametrize("how", ["the agent ends", "window closed", "killed"])
def test_whatever_ends_a_shell_in_a_live_sandbox(installation: Installation, how: str) -> None:
    with installation.started(*installation.task(WAITS)) as command:
        command.until("output", text="up")
        with installation.at_terminal("task", "shell", command.task) as user:
            _prompt(user)
            user.types("trap '' HUP TERM; echo u''p; touch /root/in\n")
            user.reads("up")
            if how == "the agent ends":
                user.types("echo >/root/go\n")
                assert user.ends() == 137, user.shown
            else:
                user.leaves() if how == "window closed" else user.process.kill()
                command.until("person_left")
                assert installation.cloister("task", "cancel", command.task).code == 0
                user.ends()
        ended = command.end()
    events = [event["event"] for event in [*command.events, *ended.events]]
    assert events.count("person_entered") == events.count("person_left") == 1
    again = installation.cloister("task", "shell", command.task)
    assert again.code == 2, again
    assert "up" in installation.cloister("task", "recording", command.task, "--shell", "1").stdout


def test_the_program_that_enters_cannot_be_attacked_from_within(installation: Installation) -> None:
    """CVE-2019-5736 (the runtime's own file), CVE-2024-21626 (a working directory of the host), hostile terminals."""
    runtime = Path(shutil.which("crun") or shutil.which("runc") or "")
    before = runtime.read_bytes()
    hostile = (
        "mv /bin/bash /bin/bash.real; printf '#!/proc/self/exe\\n' >/bin/bash; chmod 755 /bin/bash.real /bin/bash; "
        "cd /; rm -rf /workspace/project; ln -s /proc/self/fd/7 /workspace/project; echo up; "
        "for i in $(seq 4000); do for p in /proc/[0-9]*; do "
        "[ $p = /proc/1 ] || { ls -l $p/exe $p/fd; (echo overwritten >$p/exe) ; } 2>/dev/null; done >>/root/seen; "
        "[ -e /root/go ] && break; sleep 0.02; done"
    )
    with installation.started(*installation.task(hostile)) as command:
        command.until("output", text="up")
        with installation.at_terminal("task", "shell", command.task) as user:
            assert user.ends() != 0, user.shown
        assert installation.cloister("task", "cancel", command.task).code == 0
        command.end()
    assert runtime.read_bytes() == before


# What an answer can be checked by


HOSTILE_ARTIFACTS = r"""
cd /cloister/out/artifacts; mkdir -p shots deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17
echo plain >plain.txt; echo "token $GH_PAT" >masked.txt; printf 'P\0NG' >shots/page.png
printf x >"$(printf 'a\nb\033[31m\377;$(id) .txt')"; printf y >deep/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/too-deep
ln -s /etc/passwd passwd; ln -s / root; ln -s /cloister/in/prompt.md prompt.md; mkfifo pipe; ln plain.txt hard
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
truncate -s 10T sparse; head -c 21M /dev/zero >large; rm plain.txt; echo again >plain.txt
"""


def test_artifacts_are_kept_and_hostile_ones_are_not(installation: Installation, tmp_path: Path) -> None:
    make = f"mkdir -p /cloister/out/artifacts; {HOSTILE_ARTIFACTS} :"
    ran = installation.cloister(*installation.task(make))
    assert ran.code == 0, ran
    task = ran.events[0]["task"]
    listed = installation.cloister("task", "artifacts", task, "--json").events[0]
    names = [artifact["name"] for artifact in listed]
    assert names == ["a_b_31m_id_.txt", "hard", "masked.txt", "plain.txt", "shots/page.png"], names
    [kept] = [event for event in ran.events if event["event"] == "artifacts_kept"]
    left = " ".join(kept["left_out"])
    for name in ("passwd", "root", "prompt.md", "pipe", "socket", "sparse", "large"):
        assert f"{name}: it " in left, left
    assert "too-deep" not in names
    target = tmp_path / "page.png"
    get = ("task", "artifacts", task, "--get", "shots/page.png", "--output", target)
    assert installation.cloister(*get).code == 0
    assert target.read_bytes() == b"P\0NG"
    again = installation.cloister(*get)
    assert (again.code, "there already" in again.stderr) == (2, True)
    for name in ("passwd", "../../cloister.db", "..", ""):
        refused = installation.cloister("task", "artifacts", task, "--get", name, "--output", tmp_path / "none")
        assert refused.code == 2 and not (tmp_path / "none").exists(), refused
    assert (
        "artifacts  a_b_31m_id_.txt, hard, masked.txt, and 2 more" in installation.cloister("task", "show", task).stdout
    )


def test_no_more_artifacts_are_kept_than_can_be_looked_at(installation: Installation) -> None:
    many = "mkdir /cloister/out/artifacts; cd /cloister/out/artifacts; touch $(seq 120); head -c 1M /dev/zero >0"
    ran = installation.cloister(*installation.task(many))
    [kept] = [event for event in ran.events if event["event"] == "artifacts_kept"]
    assert (len(kept["names"]), kept["left"], len(kept["left_out"])) == (100, 21, 20)


def test_the_terminal_of_an_attempt_is_an_asciicast(installation: Installation) -> None:
    harmful = r"printf 'one\ntwo\n\033[32mgreen\033[0m \033]52;c;Y2xpcA==\007 \033[6n'; sleep 0.3; echo last"
    ran = installation.cloister(*installation.task(harmful))
    header, *lines = installation.cloister("task", "recording", ran.events[0]["task"]).events
    assert (header["version"], header["width"], header["height"]) == (2, 80, 24)
    text = "".join(line[2] for line in lines)
    assert text == "one\r\ntwo\r\n\x1b[32mgreen\x1b[0m  last\r\n"
    seconds = [line[0] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] == 0.0


# An agent that hangs, and one whose time runs out


def _limited(limits: str) -> str:
    return f"{QUIET}[limits]\n{limits}\n"


async def test_an_agent_that_neither_prints_nor_computes_is_stopped(installation: Installation) -> None:
    async with installation.opened() as running:
        stuck = await running.run("echo half >a.txt; sleep 1000", environment=_limited('stuck = "2s"'))
        for work in (
            "for i in $(seq 16); do sleep 0.25; echo .; done",
            "i=0; while ((i < 1500000)); do ((i += 1)); done; true",
        ):
            busy = await running.run(work, environment=_limited('stuck = "2s"'))
            assert busy.outcome.verdict is Verdict.SUCCEEDED, busy.outcome
    assert stuck.outcome.verdict is Verdict.FAILED
    assert "neither printed nor computed anything for limits.stuck" in stuck.outcome.reason
    assert "+half" in stuck.diff, "what it did before is collected"


async def test_an_agent_is_told_before_its_time_is_up(installation: Installation) -> None:
    file = "/cloister/in/time-left"
    waits = f"until [ -e {file} ]; do sleep 0.05; done; cat {file}; echo x >{file}"
    async with installation.opened() as running:
        warned = await running.run(f"{waits} || sleep 1000", environment=_limited('time = "30s"'))
    assert "time_running_out" in warned.names()
    assert "3 seconds left, until " in warned.printed("agent")
    assert (warned.outcome.verdict, warned.outcome.reason) == (
        Verdict.FAILED,
        "the agent was stopped at its time limit",
    )


# Faults


async def test_a_flood_and_daemons_leave_a_correct_change(installation: Installation) -> None:
    flood = "echo half >a.txt; (setsid nohup sh -c 'while :; do echo more >>a.txt; sleep 0.01; done' &) ; yes"
    daemon = "echo half >a.txt; for i in 1 2 3; do (setsid nohup sleep 1000 >/dev/null 2>&1 &); done"
    async with installation.opened() as running:
        flooded = await running.run(flood, environment=_limited('output = "1MiB"'))
        forked = await running.run(daemon)
    assert flooded.outcome.verdict is Verdict.FAILED and "limits.output" in flooded.outcome.reason
    assert "+half" in flooded.diff
    assert forked.outcome.verdict is Verdict.SUCCEEDED and "+half" in forked.diff
