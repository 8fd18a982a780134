import json
import tomllib

import pytest

from cloister.model.network import Decision, EgressRecord
from cloister.model.phase import Phase

from .conftest import Installation


@pytest.fixture
def task(installation: Installation) -> str:
    """A task with one request let out and one refused."""
    installation.decisions[Phase.AGENT] = [
        EgressRecord(
            sandbox="s",
            phase=Phase.AGENT,
            host=host,
            port=80,
            method="GET",
            decision=Decision(allowed=allowed, rule="some rule", hint="" if allowed else "some hint"),
            command="curl \x1b[2J",
            flow=flow,
            path="/a",
        )
        for flow, (host, allowed) in enumerate([("example.com", True), ("other.org", False)], 1)
    ]
    done = installation.run("run", "--command", "make fix", "fix the test")
    assert done.exit_code == 0, done.output
    task = done.stdout.splitlines()[0].removeprefix("task ")
    assert f"cloister egress propose {task}" in done.stdout
    return task


def test_the_log_has_a_line_for_each_decision(installation: Installation, task: str) -> None:
    lines = [line.split("\t") for line in installation.run("egress", "log", task).stdout.splitlines()]
    assert [line[:4] for line in lines] == [
        ["agent", "allowed", "GET example.com:80/a", "some rule"],
        ["agent", "refused", "GET other.org:80/a", "some rule"],
    ]
    assert not any("\x1b" in cell for line in lines for cell in line)
    assert len(installation.run("egress", "log", task, "--refused").stdout.splitlines()) == 1


def test_the_log_as_json_is_an_object_a_line(installation: Installation, task: str) -> None:
    listed = [json.loads(line) for line in installation.run("egress", "log", task, "--json").stdout.splitlines()]
    assert [(entry["host"], entry["verdict"], entry["hint"]) for entry in listed] == [
        ("example.com", "allowed", ""),
        ("other.org", "refused", "some hint"),
    ]
    assert "allowed" not in listed[0], "the verdict says it"
    assert listed[0].keys() >= {"at", "phase", "port", "method", "path", "rule", "command", "sent_bytes", "seconds"}


def test_the_proposal_is_a_table_for_the_environment_file(installation: Installation, task: str) -> None:
    done = installation.run("egress", "propose", task)
    assert tomllib.loads(done.stdout)["network"]["allow"] == ["other.org"]
    assert "\x1b" not in done.stdout


def test_a_task_without_refusals_has_no_proposal(installation: Installation) -> None:
    done = installation.run("run", "--command", "make fix", "fix the test")
    task = done.stdout.splitlines()[0].removeprefix("task ")
    assert "egress propose" not in done.stdout
    assert installation.run("egress", "propose", task).stdout.startswith("# nothing to propose")
