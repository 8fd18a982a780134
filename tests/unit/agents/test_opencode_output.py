import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.agents.opencode_output import OpencodeOutput
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

FIX = lines_of("opencode-1.18.33-fix.jsonl")


def test_a_whole_run() -> None:
    reports = read_all(OpencodeOutput(), FIX)
    failed, passed = [report for report in reports if isinstance(report, CommandFinished)]
    assert failed.output.endswith("FAILED (failures=1)\n")
    line = "python3 test_price.py && cat NOTES.md"
    step = TokensUsed(input_tokens=100, cached_input_tokens=0, output_tokens=10)
    assert reports == [
        SessionNamed(session=json.loads(FIX[0])["sessionID"]),
        Message(text="I run the tests first."),
        CommandStarted(number=1, command_line="python3 test_price.py"),
        CommandFinished(number=1, command_line="python3 test_price.py", output=failed.output, status=1),
        step,
        FilesChanged(paths=("/workspace/shop/price.py",)),
        ToolUsed(name="read", text="price.py"),
        step,
        FilesChanged(paths=("/workspace/shop/NOTES.md",)),
        step,
        CommandStarted(number=2, command_line=line),
        CommandFinished(number=2, command_line=line, output=passed.output, status=0),
        step,
        Message(text="Fixed: `total` subtracted, now it adds up."),
        step,
    ]


def test_failures() -> None:
    reports = read_all(OpencodeOutput(), lines_of("opencode-1.18.33-failures.jsonl"))
    assert [(it.output, it.status) for it in reports if isinstance(it, CommandFinished)] == [("partly\n", 3)]
    assert [it.text for it in reports if isinstance(it, AgentFailed)] == [
        "edit: File /workspace/shop/missing.py not found",
        "read: File not found: /workspace/shop/missing.py",
    ]
    wrong = read_all(OpencodeOutput(), lines_of("opencode-1.18.33-wrong-key.jsonl"))
    assert wrong[1:] == [AgentFailed(text="the key is not the script's")]


def _line(kind: str, part: object) -> str:
    return json.dumps({"type": kind, "part": part})


def test_what_the_recordings_lack() -> None:
    todos = [{"content": "look", "status": "completed"}, {"content": "fix", "status": "pending"}]
    use = {"tool": "todowrite", "callID": "1", "state": {"input": {"todos": todos}}}
    assert OpencodeOutput().feed(_line("tool_use", use)) == [
        PlanMade(steps=(PlanStep(text="look", done=True), PlanStep(text="fix", done=False)))
    ]
    assert OpencodeOutput().feed(_line("reasoning", {"text": "hm"})) == [Reasoning(text="hm")]
    tokens = {"input": 10, "output": 2, "reasoning": 3, "cache": {"read": 40, "write": 5}}
    assert OpencodeOutput().feed(_line("step_finish", {"tokens": tokens, "cost": 0.5})) == [
        TokensUsed(input_tokens=55, cached_input_tokens=40, output_tokens=5, cost=0.5)
    ]


@pytest.mark.parametrize("line", ["", "no JSON", '{"type": "new"}', '{"type": "tool_use", "part": {}}'])
def test_what_is_not_understood_is_plain(line: str) -> None:
    assert OpencodeOutput().feed(line) == [Plain(text=line)]


@given(st.integers())
def test_whatever_is_garbled_nothing_is_lost(seed: int) -> None:
    check_garbled(OpencodeOutput, FIX, seed)


@given(json_of(FIX))
def test_any_json_is_taken(value: object) -> None:
    OpencodeOutput().feed(json.dumps({"type": "tool_use", "part": value}))
    OpencodeOutput().feed(json.dumps(value))
