import json

import pytest

from cloister.agents.codex_output import CodexOutput
from cloister.agents.command import CommandAgent
from cloister.sandboxes.fake import Print, Program

from .conftest import Installation

SAID = [
    {"type": "thread.started", "thread_id": "one"},
    {"type": "item.started", "item": {"id": "a", "type": "command_execution", "command": "pytest -q"}},
    {
        "type": "item.completed",
        "item": {
            "id": "a",
            "type": "command_execution",
            "command": "pytest -q",
            "aggregated_output": "1 failed\n\u001b]0;title\u0007",
            "exit_code": 1,
        },
    },
    {"type": "item.completed", "item": {"id": "b", "type": "agent_message", "text": "It fails."}},
]


@pytest.fixture
def task(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(CommandAgent, "parser", lambda self: CodexOutput())
    data = "".join(f"{json.dumps(line)}\n" for line in SAID).encode()
    installation.node.programs["agent"] = Program(
        steps=[Print(data=data)], leaves={"/cloister/out/artifacts/shot\n1.png": b"PNG"}
    )
    ran = installation.run("run", "--command", "codex", "look")
    assert ran.exit_code == 0, ran.output
    return ran.stdout.splitlines()[0].removeprefix("task ")


@pytest.mark.parametrize("address", ["", "t", "t/1/commands", "t/1/commands/x", "t/1/commands/7/8", "../1/commands/1"])
def test_what_is_no_address_of_a_command_is_refused(installation: Installation, address: str) -> None:
    refused = installation.run("task", "command", address)
    assert refused.exit_code == 2 and "is no command's address" in refused.stderr


def test_each_command_of_an_agent_has_an_address(installation: Installation, task: str) -> None:
    shown = installation.run("task", "command", f"{task}/1/commands/1")
    assert shown.exit_code == 0, shown.output
    assert "pytest -q" in shown.stdout and "1 failed" in shown.stdout and "\x1b" not in shown.stdout
    as_json = json.loads(installation.run("task", "command", f"{task}/1/commands/1", "--json").stdout)
    assert (as_json["command_line"], as_json["status"], as_json["finished"]) == ("pytest -q", 1, True)
    missing = installation.run("task", "command", f"{task}/1/commands/2")
    assert missing.exit_code == 2 and "has no command 2: its agent told of 1" in missing.stderr
    assert installation.run("task", "command", f"{task}/2/commands/1").exit_code == 2
    page = installation.run("task", "show", task).stdout
    assert f"commands   1: cloister task command {task}/1/commands/1" in page
    assert "says       It fails." in page, "the answer is the agent's last message"


def test_a_recording_shows_what_an_agent_tells_and_not_its_json(installation: Installation, task: str) -> None:
    header, *lines = installation.run("task", "recording", task).stdout.splitlines()
    assert json.loads(header)["version"] == 2
    text = "".join(json.loads(line)[2] for line in lines)
    assert "pytest -q" in text and "It fails." in text and "thread_id" not in text
    assert "title" not in text, "a title is the terminal's to have, and not the agent's"
    refused = installation.run("task", "recording", task, "--shell", "1")
    assert refused.exit_code == 2 and "no recording of a shell 1" in refused.stderr


def test_an_artifact_is_listed_and_saved(installation: Installation, task: str) -> None:
    listed = json.loads(installation.run("task", "artifacts", task, "--json").stdout)
    assert [(artifact["name"], artifact["size_bytes"]) for artifact in listed] == [("shot_1.png", 3)]
    alone = installation.run("task", "artifacts", task, "--get", "shot_1.png")
    assert alone.exit_code == 2 and "go together" in alone.stderr
    saved = installation.run("task", "artifacts", task, "--get", "shot_1.png", "--output", "saved")
    assert saved.exit_code == 0 and (installation.project / "saved").read_bytes() == b"PNG"
