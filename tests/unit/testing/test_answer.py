import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from cloister.testing.answer import CannotAnswerError, answer_of
from cloister.testing.asked import Asked, Tool
from cloister.testing.script import Edit, Turn, Write

EDIT = Turn(edit=Edit(path="a.py", old="one & $two", new="'three' \\4 &"))
WRITE = Turn(write=Write(path="it's.md", text="a\nb\n"))
SHELL = {"properties": {"command": {"type": "string"}}}


def asked_by(*tools: Tool, text: str = "", directory: str = "") -> Asked:
    body = {"text": text, "system": f"Working directory: {directory}" if directory else ""}
    return Asked(model="m", stream=False, system="", said=(), prompts=(), results=(), tools=tools, body=body)


def calls_of(turn: Turn, *tools: Tool, directory: str = "") -> Sequence[tuple[str, Mapping[str, Any] | str]]:
    answer = answer_of(turn, asked_by(*tools, directory=directory), id="cloister_0_0")
    return [(call.tool.name, call.arguments) for call in answer.calls]


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (Tool(name="bash", schema=SHELL), {"command": "ls -l"}),
        (Tool(name="of another name", schema=SHELL), {"command": "ls -l"}),
        (Tool(name="exec_command", schema={"properties": {"cmd": {"type": "string"}}}), {"cmd": "ls -l"}),
        (
            Tool(name="shell", schema={"properties": {"command": {"type": "array"}}}),
            {"command": ["bash", "-lc", "ls -l"]},
        ),
        (Tool(name="exec", schema={}, free=True), 'text(await tools.exec_command({"cmd": "ls -l"}));'),
    ],
)
def test_a_command_is_run_by_the_tool_that_is_there(tool: Tool, arguments: object) -> None:
    other = Tool(name="wait", schema={})
    assert calls_of(Turn(run="ls -l"), other, tool) == [(tool.name, arguments)]


def test_what_no_tool_can_do_is_an_error() -> None:
    with pytest.raises(CannotAnswerError, match="the agent offers no tool that runs commands: wait"):
        calls_of(Turn(run="ls"), Tool(name="wait", schema={}))


def test_an_editor_gets_whole_paths_and_is_shown_the_file_first() -> None:
    names = ("file_path", "old_string", "new_string")
    edit = Tool(name="Edit", schema={"properties": {key: {"type": "string"} for key in names}, "required": [*names]})
    read = Tool(name="Read", schema={"properties": {"file_path": {"type": "string"}}})
    path = "/workspace/shop/a.py"
    assert calls_of(EDIT, edit, read, directory="/workspace/shop") == [
        ("Read", {"file_path": path}),
        ("Edit", {"file_path": path, "old_string": "one & $two", "new_string": "'three' \\4 &"}),
    ]


def test_a_patch_for_those_who_take_one() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n@@\n-one & $two\n+'three' \\4 &\n*** End Patch\n"
    assert calls_of(EDIT, Tool(name="apply_patch", schema={}, free=True)) == [("apply_patch", patch)]
    addition = "*** Begin Patch\n*** Add File: it's.md\n+a\n+b\n*** End Patch\n"
    assert calls_of(WRITE, Tool(name="apply_patch", schema={}, free=True)) == [("apply_patch", addition)]


@pytest.mark.parametrize(("before", "status"), [("x one & $two y\n\n", 0), ("nothing of it", 1)])
def test_a_command_line_edits_where_there_is_no_editor(tmp_path: Path, before: str, status: int) -> None:
    file = tmp_path / "a.py"
    file.write_text(before)
    ((_, given),) = calls_of(EDIT, Tool(name="bash", schema=SHELL))
    assert not isinstance(given, str)
    assert subprocess.run(["sh", "-c", given["command"]], cwd=tmp_path, check=False).returncode == status
    assert file.read_text() == before.replace("one & $two", "'three' \\4 &")


def test_a_command_line_writes_where_there_is_no_editor(tmp_path: Path) -> None:
    ((_, given),) = calls_of(WRITE, Tool(name="bash", schema=SHELL))
    assert not isinstance(given, str)
    subprocess.run(["sh", "-c", given["command"]], cwd=tmp_path, check=True)
    assert (tmp_path / "it's.md").read_text() == "a\nb\n"


def test_agents_without_tools_read_prose() -> None:
    aider = answer_of(EDIT, asked_by(text="use a SEARCH/REPLACE block"), id="cloister_0_0")
    block = "a.py\n```\n<<<<<<< SEARCH\none & $two\n=======\n'three' \\4 &\n>>>>>>> REPLACE\n```"
    assert (aider.text, aider.calls) == (block, [])
    other = answer_of(Turn(say="I look.", run="ls"), asked_by(), id="cloister_0_0")
    assert other.text == "I look.\n\n```bash\nls\n```"


def test_agents_that_take_whole_files_get_no_edit() -> None:
    asked = asked_by(text="you MUST return the entire content in a *file listing*")
    assert answer_of(WRITE, asked, id="cloister_0_0").text == "it's.md\n```\na\nb\n```"
    with pytest.raises(CannotAnswerError, match="whole files"):
        answer_of(EDIT, asked, id="cloister_0_0")


def test_the_end_of_the_work_is_said_as_the_agent_wants_it() -> None:
    text = "issue the command: `echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT`"
    answer = answer_of(Turn(say="done"), asked_by(Tool(name="bash", schema=SHELL), text=text), id="cloister_0_0")
    assert answer.text == "done"
    assert [call.arguments for call in answer.calls] == [{"command": "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"}]
