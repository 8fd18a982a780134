"""S16: any of our processes is killed at any moment; what ran goes on, or is gone without a trace."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .installation import QUIET, Command, Installation, printed
from .leftovers import descendants, find_leftovers, wait_for_none

PACED = """
mkfifo /cloister/out/gate; echo first
read -r _ </cloister/out/gate
echo second; echo two >a.txt; exit 3
"""
HOLD = "echo ready; exec sleep 600"


def _attempt(command: Command) -> str:
    return next(str(event["attempt"]) for event in command.events if event["attempt"])


def _process(installation: Installation, attempt: str, name: str) -> Path:
    """Where the supervisor of a container writes."""
    return installation.paths.sandbox(attempt) / "processes" / name  # type: ignore[arg-type]


def _kill_pid_in(file: Path) -> None:
    os.kill(int(file.read_text()), signal.SIGKILL)


def _open_gate(installation: Installation, attempt: str) -> None:
    """Let the agent go on: it reads from a pipe of its disk, into which the host writes."""
    gate = installation.paths.sandbox(attempt) / "root" / "cloister" / "out" / "gate"  # type: ignore[arg-type]
    gate.write_text("go\n")


def test_a_second_process_reads_on_where_the_first_was_killed(installation: Installation) -> None:
    with installation.started(*installation.task(PACED)) as command:
        command.until("output", text="first")
        command.kill()
    attempt = _attempt(command)
    assert find_leftovers(installation).groups, "the container runs on"
    _open_gate(installation, attempt)
    ended = installation.cloister("task", "wait", "--json", command.task)
    assert ended.code == 1, ended
    [left] = ended.events[0]["attempts"]
    assert (left["exit_status"], left["verdict"]) == (3, "failed")
    assert "+two" in left["diff"]
    logs = installation.cloister("task", "logs", "--json", command.task).events
    assert printed(logs) == "first\nsecond\n", "each line once"
    assert [event["retry"] for event in logs if event["event"] == "attempt_started"] == [0, 1]


def test_an_agent_that_ended_meanwhile_is_not_run_again(installation: Installation) -> None:
    with installation.started(*installation.task("echo first; echo $RANDOM >a.txt; sleep 0.3; exit 5")) as command:
        command.until("output", text="first")
        command.kill()
    _wait_for(_process(installation, _attempt(command), "agent") / "exit")
    ended = installation.cloister("task", "wait", "--json", command.task)
    assert ended.events[0]["attempts"][0]["exit_status"] == 5
    assert printed(installation.cloister("task", "logs", "--json", command.task).events) == "first\n"


def test_a_setup_goes_on_too(installation: Installation) -> None:
    environment = QUIET.replace(
        "automatic = false", f"automatic = false\nscript = '''{PACED.replace('exit 3', ':')}'''"
    )
    with installation.started(*installation.task("cat a.txt", environment=environment)) as command:
        command.until("output", text="first")
        command.kill()
    _open_gate(installation, _attempt(command))
    assert installation.cloister("task", "wait", command.task).code == 0
    logs = installation.cloister("task", "logs", "--json", command.task).events
    assert printed(logs, "setup") == "first\nsecond\n"
    assert printed(logs, "agent") == "one\n", "tracked files that setup changed are restored"


def test_the_deadline_holds_while_no_worker_lives(installation: Installation) -> None:
    environment = QUIET + '[limits]\ntime = "6s"\n'
    with installation.started(*installation.task(HOLD, environment=environment)) as command:
        command.until("output", text="ready")
        command.kill()
    _wait_for(_process(installation, _attempt(command), "agent") / "exit")
    ended = installation.cloister("task", "wait", "--json", command.task)
    assert ended.code == 1
    assert ended.events[0]["attempts"][0]["reason"] == "the agent was stopped at its time limit"


MOMENTS = [
    ("attempt_started", {}),
    ("snapshot_missed", {}),
    ("output", {"phase": "setup"}),
    ("snapshot_saved", {}),
    ("output", {"phase": "agent"}),
    ("phase_started", {"phase": "output"}),
    ("diff_collected", {}),
]


@pytest.mark.parametrize(("event", "fields"), MOMENTS, ids=[f"{e}-{f.get('phase', '')}" for e, f in MOMENTS])
def test_clean_leaves_nothing_of_a_killed_command(
    installation: Installation, event: str, fields: dict[str, str]
) -> None:
    environment = QUIET.replace("automatic = false", 'automatic = false\nscript = "echo a; sleep 0.2"')
    with installation.started(*installation.task("echo b; sleep 0.2", environment=environment)) as command:
        command.until(event, **fields)
        command.kill()
    cleaned = installation.cloister("clean", "--json")
    assert cleaned.code == 0, cleaned
    left = wait_for_none(installation)
    assert left.kinds() == set(), left
    assert installation.cloister("task", "show", "--json", command.task).events[0]["state"] == "finished"
    again = installation.cloister(*installation.task("cat a.txt", environment=environment))
    assert again.code == 0, "and the next task finds nothing half made"
    assert printed(again.events) == "one\n"


def test_a_killed_supervisor_ends_its_container_and_errs(installation: Installation) -> None:
    with installation.started(*installation.task(HOLD)) as command:
        command.until("output", text="ready")
        _kill_pid_in(_process(installation, _attempt(command), "agent") / "pid")
        ended = command.end()
    assert ended.code == 3
    [left] = ended.events[-1]["attempts"]
    assert left["verdict"] == "errored"
    assert "was killed, so its exit status is unknown" in left["reason"]


@pytest.mark.parametrize("part", ["supervisor.py", "cloister.egress"])
def test_a_killed_child_of_the_worker_is_replaced(installation: Installation, part: str) -> None:
    """The spawner of supervisors and the egress process: output and teardown need them again."""
    with installation.started(*installation.task(PACED)) as command:
        command.until("output", text="first")
        [child] = _children(command.process.pid, part)
        os.kill(child, signal.SIGKILL)
        _open_gate(installation, _attempt(command))
        ended = command.end()
    assert ended.code == 1, ended
    [left] = ended.events[-1]["attempts"]
    assert (left["verdict"], left["exit_status"]) == ("failed", 3)
    assert "+two" in left["diff"]


def _children(parent: int, part: str) -> Iterator[int]:
    for pid in descendants():
        status = Path(f"/proc/{pid}/status").read_text()
        if f"PPid:\t{parent}\n" in status and part in Path(f"/proc/{pid}/cmdline").read_text():
            yield pid


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.02)


CRASHES = ["before rename", "before marker", "after marker", "after rename", "before state", "after state"]


@pytest.mark.parametrize("point", CRASHES)
def test_half_a_snapshot_is_never_used(installation: Installation, point: str) -> None:
    environment = QUIET.replace("automatic = false", 'automatic = false\nscript = "echo installed >made"')
    task = installation.task("cat made a.txt; echo two >a.txt", environment=environment)
    crashed = subprocess.run(
        [sys.executable, Path(__file__).with_name("crash.py"), "snapshot", point, *task],
        cwd=installation.project.path,
        env={**os.environ, "CLOISTER_STATE": str(installation.state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert crashed.returncode == -signal.SIGKILL, crashed
    name = json.loads(crashed.stdout.splitlines()[0])["task"]
    ended = installation.cloister("task", "wait", "--json", name)
    logs = installation.cloister("task", "logs", "--json", name).events
    assert (ended.code, printed(logs)) == (0, "installed\none\n"), (ended, logs)
    again = installation.cloister(*task)
    assert (again.code, printed(again.events)) == (0, "installed\none\n"), again
