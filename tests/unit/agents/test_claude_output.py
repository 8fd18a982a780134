import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.agents.claude_output import ClaudeOutput
from cloister.model.agent_report import (
    AgentFailed,
    CommandFinished,
    CommandStarted,
    FilesChanged,
    Message,
    Plain,
    PlanMade,
    PlanStep,
    Reasoning,
    SessionNamed,
    TokensUsed,
    ToolUsed,
)

from .parsing import check_garbled, json_of, lines_of, read_all

FIX = lines_of("claude-code-2.1.332-fix.jsonl")


def test_a_whole_run() -> None:
    reports = read_all(ClaudeOutput(), FIX)
    failed, passed = [report for report in reports if isinstance(report, CommandFinished)]
    assert failed.output.startswith("F\n=====")
    assert failed.output.endswith("FAILED (failures=1)")
    line = "python3 test_price.py && cat NOTES.md"
    assert reports == [
        SessionNamed(session=json.loads(FIX[0])["session_id"]),
        Reasoning(text="**Looking at the test**"),
        Message(text="I run the tests first."),
        CommandStarted(number=1, command_line="python3 test_price.py"),
        CommandFinished(number=1, command_line="python3 test_price.py", output=failed.output, status=1),
        ToolUsed(name="Read", text="/workspace/shop/price.py"),
        FilesChanged(paths=("/workspace/shop/price.py",)),
        FilesChanged(paths=("/workspace/shop/NOTES.md",)),
        CommandStarted(number=2, command_line=line),
        CommandFinished(number=2, command_line=line, output=passed.output, status=0),
        Message(text="Fixed: `total` subtracted, now it adds up."),
        TokensUsed(input_tokens=500, cached_input_tokens=0, output_tokens=50, cost=0.003),
    ]


def test_failures_have_their_status() -> None:
    reports = read_all(ClaudeOutput(), lines_of("claude-code-2.1.332-failures.jsonl"))
    ended = [(it.number, it.output, it.status) for it in reports if isinstance(it, CommandFinished)]
    assert ended == [(1, "partly", 3), (2, "", 1)]
    failed = [it.text for it in reports if isinstance(it, AgentFailed)]
    assert all("missing.py" in text or "does not exist" in text for text in failed)
    assert failed
    assert not [it for it in reports if isinstance(it, FilesChanged)]


def test_a_wrong_key_is_told_once_and_is_no_message() -> None:
    reports = read_all(ClaudeOutput(), lines_of("claude-code-2.1.332-wrong-key.jsonl"))
    assert reports[1:-1] == [
        AgentFailed(text="authentication_failed (status 401): trying again, 1 of 1"),
        AgentFailed(text="Failed to authenticate. API Error: 401 the key is not the script's"),
    ]


def test_what_the_recordings_lack() -> None:
    parser = ClaudeOutput()
    todos = [{"content": "look", "status": "completed"}, {"content": "fix", "status": "pending"}]
    use = {"type": "tool_use", "id": "1", "name": "TodoWrite", "input": {"todos": todos}}
    assert parser.feed(json.dumps({"type": "assistant", "message": {"content": [use]}})) == [
        PlanMade(steps=(PlanStep(text="look", done=True), PlanStep(text="fix", done=False)))
    ]
    said = {"type": "assistant", "message": {"content": [{"type": "text", "text": "x"}]}, "parent_tool_use_id": "1"}
    assert parser.feed(json.dumps(said)) == [ToolUsed(name="Agent", text="x")]
    ended = {"type": "result", "subtype": "error_max_turns", "is_error": True, "errors": ["too many turns"]}
    assert parser.feed(json.dumps(ended))[0] == AgentFailed(text="too many turns")
    late = {"type": "result", "is_error": False, "result": "never said before"}
    assert parser.feed(json.dumps(late))[0] == Message(text="never said before")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no JSON",
        '{"type": "system", "subtype": "new"}',
        '{"type": "assistant", "message": {"content": [{"type": "new"}]}}',
        '{"type": "assistant", "message": {"content": []}}',
        '{"type": "user", "message": {"content": "text"}}',
    ],
)
def test_what_is_not_understood_is_plain(line: str) -> None:
    assert ClaudeOutput().feed(line) == [Plain(text=line)]


@given(st.integers())
def test_whatever_is_garbled_nothing_is_lost(seed: int) -> None:
    check_garbled(ClaudeOutput, FIX[:1] + FIX[5:], seed)


@given(json_of(FIX[5:]))
def test_any_json_is_taken(value: object) -> None:
    ClaudeOutput().feed(json.dumps({"type": "assistant", "message": {"content": [value]}}))
    ClaudeOutput().feed(json.dumps({"type": "user", "message": {"content": [value]}}))
    ClaudeOutput().feed(json.dumps(value))
