import json
import os
import signal
from typing import Any

import pytest

from cloister.model.network import Decision, EgressRecord
from cloister.model.phase import Phase
from cloister.model.sandbox import Exit, Stream
from cloister.sandboxes.fake import Hold, Print, Program

from .conftest import DIFF, Installation

FIX = ("run", "--command", "make fix", "fix the test")


def events_of(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--command", "x", ""), "the prompt is empty"),
        (("run", "fix"), "there is no agent 'codex'; known: command"),
        (("run", "--agent", "claude", "fix"), "there is no agent 'claude'; known: command"),
        (("run", "--command", "x", "--ref", "none", "fix"), "none"),
        (("run", "--command", "x", "--repo", "/nowhere", "fix"), "/nowhere"),
        (("run", "--command", "x", "--env", "none.toml", "fix"), "cannot read the environment file none.toml"),
        (("run", "--command", "x", "--patch", "none.diff", "fix"), "cannot read the patch none.diff"),
        (("run", "--command", "x", "--patch", "a.txt", "fix"), "the patch is not a diff"),
        (("run", "--command", "x", "--var", "A", "fix"), "--var A: write it as NAME=VALUE"),
        (("run", "--command", "x", "--var", "A-B=1", "fix"), "'A-B' is not a variable name"),
        (("run", "--command", "x", "--secret-from-env", "NOT_THERE", "fix"), "there is no variable NOT_THERE"),
        (("run", "--command", "x", "--allow", "com", "fix"), "too broad"),
        (("run", "--command", "x", "--attempts", "5", "fix"), "1 to 4 attempts, not 5"),
        (("run", "--command", "x", "--internet", "on", "fix"), "'on' is not one of"),
        (("run", "--comand", "x", "fix"), "--comand"),
        (("run",), "Missing argument 'PROMPT'"),
        (("--config", "none.toml", *FIX), "there is no settings file none.toml"),
    ],
)
def test_bad_input_exits_2_and_makes_nothing(
    installation: Installation, arguments: tuple[str, ...], message: str
) -> None:
    done = installation.run(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert installation.run("task", "list").stdout == ""


def test_outside_of_a_repository_one_must_be_named(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(installation.project.parent)
    done = installation.run(*FIX)
    assert done.exit_code == 2
    assert "is in no git repository" in done.stderr
    assert "--repo" in done.stderr


def test_a_work_tree_without_commits(installation: Installation) -> None:
    installation.git("update-ref", "-d", "HEAD")
    done = installation.run(*FIX)
    assert done.exit_code == 2
    assert installation.run("task", "list").stdout == ""


def test_a_bad_environment_file_is_named_with_line_and_key(installation: Installation) -> None:
    (installation.project / "env.toml").write_text("[limits]\nmemroy = 1\n")
    done = installation.run("run", "--command", "x", "--env", "env.toml", "fix")
    assert done.exit_code == 2
    assert done.stderr == "error: env.toml, line 2: unknown key `limits.memroy`; did you mean `memory`?\n"


def test_a_task_is_followed_to_its_end(installation: Installation) -> None:
    done = installation.run(*FIX)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    task = lines[0].removeprefix("task ")
    for line in (
        "  snapshot: none fits (first use of this environment)",
        "agent: network off, no secrets",
        "  | working",
        "  change: 1 file, +1 -1",
        "I fixed it.",
        f"  cloister diff {task}     shows the change",
        f"  cloister apply {task}    puts it into your work tree",
    ):
        assert line in lines
    assert "\x1b" not in done.stdout


def test_json_is_one_event_a_line_and_ends_with_what_is_left(installation: Installation) -> None:
    events = events_of(installation.run(*FIX, "--json").stdout)
    assert [event["event"] for event in events[:2]] == ["task_accepted", "attempt_started"]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert [event["text"] for event in events if event["event"] == "output"] == ["working\n"]
    last = events[-1]
    assert (last["event"], last["verdict"]) == ("task_finished", "succeeded")
    (attempt,) = last["attempts"]
    assert attempt["diff"] == DIFF.decode()
    assert attempt["diff_stats"] == {"files": 1, "added": 1, "removed": 1}
    assert attempt["message"] == "I fixed it."
    assert attempt["checks"] == []
    assert {"provision", "setup", "agent", "output", "accepted_to_agent_seconds"} <= attempt["timings"].keys()


def test_the_exit_code_is_the_verdicts(installation: Installation) -> None:
    installation.node.programs["agent"] = Program(ends=Exit(status=3))
    done = installation.run(*FIX)
    assert done.exit_code == 1
    assert "failed" in done.stdout


def test_an_error_of_ours_exits_3(installation: Installation) -> None:
    async def break_down(about: str, call: str) -> None:
        if call == "start agent":
            raise RuntimeError("boom")

    installation.on_call = break_down
    assert installation.run(*FIX).exit_code == 3


def test_refusals_are_shown_with_their_hint(installation: Installation) -> None:
    refusal = EgressRecord(
        sandbox="s",
        phase=Phase.AGENT,
        host="example.com",
        port=443,
        method="CONNECT",
        decision=Decision(allowed=False, rule="agent internet is off", hint="allow it with --allow example.com"),
    )
    installation.decisions[Phase.AGENT] = [refusal]
    lines = installation.run(*FIX).stdout.splitlines()
    at = lines.index("  refused: CONNECT example.com:443: agent internet is off")
    assert lines[at + 1].strip() == "allow it with --allow example.com"


def test_what_a_sandbox_prints_cannot_drive_the_terminal(installation: Installation) -> None:
    evil = b"\x1b]0;owned\x07\x1b[2Jclear \xc2\x9b31m\x1b]52;c;aGk=\x1b\\ \xe2\x80\xaetxt\r\n"
    installation.node.programs["agent"] = Program(
        steps=[Print(data=evil, stream=Stream.STDERR)],
        leaves={"/cloister/out/message.md": b"\x1b[31mred\x1b[0m [bold]not markup[/bold]"},
    )
    shown = installation.run(*FIX).stdout
    assert not any(character in shown for character in "\x1b\x07\x9b\u202e\r")
    assert "clear" in shown
    assert "red [bold]not markup[/bold]" in shown
    assert "\x1b" not in installation.run(*FIX, "--json").stdout


def test_a_secret_from_the_environment_reaches_the_vault_and_nothing_else(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NPM_TOKEN", "npm-0123456789")
    (installation.project / "env.toml").write_text('[setup]\nscript = "npm ci"\n[secrets]\nNPM_TOKEN = {}\n')
    installation.node.programs["setup"] = Program(steps=[Print(data=b"with npm-0123456789\n")])
    done = installation.run("run", "--command", "x", "--env", "env.toml", "--secret-from-env", "NPM_TOKEN", "fix")
    assert done.exit_code == 0, done.output
    assert "setup: network full, secrets NPM_TOKEN" in done.stdout
    assert "npm-0123456789" not in done.output
    kept = b"".join(path.read_bytes() for path in installation.state.rglob("*") if path.is_file())
    assert b"npm-0123456789" not in kept


def test_the_prompt_may_come_from_standard_input(installation: Installation) -> None:
    long = "fix this\n" * 20_000
    assert installation.run("run", "--command", "x", "-", stdin=long).exit_code == 0
    (task,) = json.loads(installation.run("task", "list", "--json").stdout)
    assert task["prompt"] == long


def test_options_reach_the_task(installation: Installation) -> None:
    (installation.project / "start.diff").write_bytes(DIFF)
    options = ("--var", "A=b=c", "--internet", "limited", "--allow", "Example.com", "--no-cache", "--attempts", "2")
    done = installation.run("run", "--command", "x", "--patch", "start.diff", *options, "fix")
    assert done.exit_code == 0, done.output
    agents = [command for command in installation.node.commands if command.id == "agent"]
    assert [command.variables["A"] for command in agents] == ["b=c", "b=c"]
    assert "[1] agent: network limited, no secrets" in done.stdout
    assert "[2] agent: network limited, no secrets" in done.stdout


def test_uncommitted_work_is_left_alone_and_said_so(installation: Installation) -> None:
    (installation.project / "a.txt").write_text("mine\n")
    assert "note: 1 uncommitted file is not part of the task" in installation.run(*FIX).stdout
    assert (installation.project / "a.txt").read_text() == "mine\n"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_and_cleans_up(installation: Installation, stop: signal.Signals) -> None:
    installation.node.programs["agent"] = Program(steps=[Hold()])

    async def interrupt(about: str, call: str) -> None:
        if call == "start agent":
            os.kill(os.getpid(), stop)

    installation.on_call = interrupt
    done = installation.run(*FIX)
    assert done.exit_code == 4, done.output
    assert "cancelling, and cleaning up" in done.stdout
    assert installation.node.disks == {}


def test_a_second_signal_is_told_that_it_still_cleans_up(installation: Installation) -> None:
    installation.node.programs["agent"] = Program(steps=[Hold()])

    async def interrupt(about: str, call: str) -> None:
        if call in ("start agent", "destroy"):
            os.kill(os.getpid(), signal.SIGINT)

    installation.on_call = interrupt
    done = installation.run(*FIX)
    assert done.exit_code == 4, done.output
    assert installation.node.disks == {}


def test_a_bug_is_one_line_and_its_traceback_is_kept(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object) -> None:
        raise ZeroDivisionError("boom\x1b[31m\nmore")

    monkeypatch.setattr("cloister.cli.run.repository_address", explode)
    done = installation.run(*FIX)
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1
    assert "this is a bug in Cloister: ZeroDivisionError: boom" in done.stderr
    assert "\x1b" not in done.stderr
    (kept,) = (installation.state / "log").glob("bug-*.txt")
    assert "Traceback" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("CLOISTER_DEBUG", "1")
    assert "Traceback" in installation.run(*FIX).stderr
