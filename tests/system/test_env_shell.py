"""`cloister env shell`, as a user at a terminal: the state of a phase by hand, and nothing left of it."""

import signal
from pathlib import Path

import pytest

from .files import written
from .installation import QUIET, Installation
from .leftovers import find_leftovers, wait_for_none
from .terminal import User

SECRET = "s3cret-value-of-a-shell"
ENVIRONMENT = """
name = "shop"
[variables]
GREETING = "hello"
[secrets]
TOKEN = { mode = "setup" }
[setup]
script = "echo installed by setup >/opt/installed; echo dirt >a.txt"
[network]
setup = "off"
agent = "off"
"""


def _shell(installation: Installation, *more: str, environment: str = ENVIRONMENT) -> list[str | Path]:
    if "TOKEN" in environment:
        assert installation.cloister("secret", "set", "shop", "TOKEN", stdin=SECRET).code == 0
    return ["env", "shell", installation.write(environment), *more]


def _prompt(user: User) -> None:
    """Wait until the shell reads: what is typed before is the terminal's, which knows another ctrl-c and ctrl-d."""
    user.reads(r"[#$] (?:\x1b\[[0-9;?]*[A-Za-z]|\r)*$")


def _says(user: User, line: str, answer: str) -> None:
    """Type a line whose output is `answer`: what the shell echoes is told apart by the brackets."""
    user.types(f'echo "<$({line})>"\n')
    found = user.reads(r"<(?!\$)([^>]*)>")[1].replace("\r\n", "\n")
    assert found == answer, line
    _prompt(user)


def test_without_a_terminal_nothing_is_started(installation: Installation) -> None:
    refused = installation.cloister(*_shell(installation))
    assert (refused.code, "needs a terminal" in refused.stderr) == (2, True), refused
    assert installation.cloister("task", "list", "--json").stdout == "[]\n"


def test_a_shell_where_an_agent_would_start(installation: Installation) -> None:
    first = installation.project.git("rev-parse", "HEAD").strip()
    installation.project.commit({"a.txt": "newer\n"})
    with installation.at_terminal(*_shell(installation, "--ref", first)) as user:
        before = user.modes()
        user.reads("the shell is yours")
        _prompt(user)
        assert user.modes() != before, "or ctrl-c would end us, not what runs in the shell"
        _says(user, "pwd; cat a.txt /opt/installed", "/workspace/project\none\ninstalled by setup")
        _says(user, "echo $CLOISTER_PHASE $GREETING ${TOKEN-no secret} $TERM", "agent hello no secret xterm")
        _says(user, "stty size", "30 100")
        user.resizes(71, 17)
        _says(user, "sleep 0.3; stty size", "17 71")
        user.types("sh -c 'echo r\"\"uns; exec sleep 1000'\n")
        user.reads("runs")
        user.types("\x03")
        _prompt(user)
        _says(user, "curl -s -o /dev/null -w '%{http_code}' http://example.com/", "403")
        assert "refused" not in user.shown, "while the terminal is the shell's, nobody else writes on it"
        user.types("touch /opt/mine; exit 7\n")
        assert user.ends() == 7
        assert "refused: GET example.com:80" in user.shown and "--internet limited --allow example.com" in user.shown
        assert user.modes() == before
    [task] = installation.cloister("task", "list", "--json").events[0]
    assert (task["agent"], task["verdict"]) == ("shell", "succeeded")
    events = installation.cloister("task", "logs", "--json", task["task"]).events
    told = [(event["event"], event["phase"]) for event in events if event["event"].startswith("shell")]
    assert told == [("shell_opened", "agent"), ("shell_closed", "agent")]
    assert "installed by setup" not in str(events), "what passes the terminal is not recorded"
    assert installation.cloister("snapshot", "list", "--json").events[0], "setup's work is kept"
    after = installation.cloister(*installation.task("ls /opt", environment=ENVIRONMENT))
    assert "installed\\n" in after.stdout and "mine" not in after.stdout, "but nothing of the shell's"


def test_a_shell_where_the_script_of_setup_would_start(installation: Installation) -> None:
    tip = installation.project.git("rev-parse", "HEAD").strip()
    installation.project.git("checkout", "--quiet", "-b", "side")
    installation.project.commit({"a.txt": "side\n"})
    installation.project.git("checkout", "--quiet", "main")
    with installation.at_terminal(*_shell(installation, "--phase", "setup", "--ref", "side")) as user:
        user.reads("setup: network off, secrets TOKEN")
        _prompt(user)
        _says(user, "git rev-parse HEAD; cat a.txt; ls -d /opt/installed 2>/dev/null", f"{tip}\none")
        _says(user, "echo $CLOISTER_PHASE $GREETING $TOKEN", f"setup hello {SECRET}")
        user.types("\x04")
        assert user.ends() == 0
    [task] = installation.cloister("task", "list", "--json").events[0]
    logs = installation.cloister("task", "logs", "--json", task["task"])
    assert [event["event"] for event in logs.events if event["event"].startswith("secret")] == [
        "secret_delivered",
        "secret_removed",
    ]
    files = [file for file in installation.state.rglob("*") if file.is_file() and not file.is_symlink()]
    assert SECRET not in logs.stdout and not any(SECRET.encode() in written(file) for file in files)
    assert installation.cloister("snapshot", "list", "--json").events == [[]], "nothing of a shell is kept"


@pytest.mark.parametrize("how", ["window closed", "killed", "terminated", "task cancelled"])
def test_whatever_ends_a_shell_leaves_nothing(installation: Installation, how: str) -> None:
    with installation.at_terminal(*_shell(installation, environment=QUIET)) as user:
        before = user.modes()
        _prompt(user)
        user.types("trap '' HUP TERM; setsid sleep 1000 & echo u''p\n")
        user.reads("up")
        assert find_leftovers(installation).groups, "it runs"
        match how:
            case "window closed":
                user.leaves()
            case "killed":
                user.process.kill()
            case "terminated":
                user.process.send_signal(signal.SIGTERM)
            case _:
                [task] = installation.cloister("task", "list", "--json").events[0]
                assert installation.cloister("task", "cancel", task["task"]).code == 0
        code = user.ends()
        if how in ("terminated", "task cancelled"):
            assert code == 4, user.shown
            assert user.modes() == before, "a terminal is given back as it was"
    if how == "killed":  # what it had begun, the next one ends: nobody has the terminal any more
        assert installation.cloister("clean").code == 0
    left = wait_for_none(installation)
    assert left.kinds() == set(), left
    [task] = installation.cloister("task", "list", "--json").events[0]
    assert task["verdict"] == "cancelled"


def test_a_setup_that_fails_gives_no_shell(installation: Installation) -> None:
    environment = '[setup]\nscript = "echo so it ends; exit 9"\n'
    with installation.at_terminal(*_shell(installation, environment=environment)) as user:
        assert user.ends() == 1
        assert "status 9" in user.shown and "so it ends" in user.shown
        assert "cloister env check " in user.shown
