import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.agents.gemini_output import GeminiOutput
from cloister.model.agent_report import (
    AgentFailed,
    CommandFinished,
    CommandStarted,
    FilesChanged,
    Message,
    Plain,
    SessionNamed,
    TokensUsed,
    ToolUsed,
)

from .parsing import check_garbled, json_of, lines_of, read_all

FIX = lines_of("gemini-0.61.0-fix.jsonl")
PIECE = '{"type": "message", "role": "assistant", "content": "half", "delta": true}'


def test_a_whole_run() -> None:
    reports = read_all(GeminiOutput(), FIX)
    failed, passed = [report for report in reports if isinstance(report, CommandFinished)]
    assert failed.output.endswith("FAILED (failures=1)")
    line = "python3 test_price.py && cat NOTES.md"
    assert reports == [
        SessionNamed(session=json.loads(FIX[0])["session_id"]),
        Message(text="I run the tests first."),
        CommandStarted(number=1, command_line="python3 test_price.py"),
        CommandFinished(number=1, command_line="python3 test_price.py", output=failed.output, status=None),
        FilesChanged(paths=("price.py",)),
        FilesChanged(paths=("NOTES.md",)),
        CommandStarted(number=2, command_line=line),
        CommandFinished(number=2, command_line=line, output=passed.output, status=None),
        Message(text="Fixed: `total` subtracted, now it adds up."),
        TokensUsed(input_tokens=600, cached_input_tokens=0, output_tokens=60),
    ]


def test_failures() -> None:
    reports = read_all(GeminiOutput(), lines_of("gemini-0.61.0-failures.jsonl"))
    assert [it.text for it in reports if isinstance(it, AgentFailed)] == ["File not found: /workspace/shop/missing.py"]
    assert [it for it in reports if isinstance(it, FilesChanged)] == []
    (wrong,) = [
        it for it in read_all(GeminiOutput(), lines_of("gemini-0.61.0-wrong-key.jsonl")) if isinstance(it, AgentFailed)
    ]
    assert "the key is not the script's" in wrong.text


def test_a_message_in_pieces_ends_with_what_is_none() -> None:
    parser = GeminiOutput()
    assert [*parser.feed(PIECE), *parser.feed(PIECE)] == []
    assert parser.feed("plain") == [Message(text="halfhalf"), Plain(text="plain")]
    assert parser.feed(PIECE) == []
    assert parser.close() == [Message(text="half")]
    assert parser.close() == []


def test_an_endless_message_is_told_in_parts() -> None:
    parser = GeminiOutput()
    long = json.dumps({"type": "message", "role": "assistant", "content": "x" * 600_000, "delta": True})
    assert parser.feed(long) == []
    assert parser.feed(long) == [Message(text="x" * 1_200_000)]


def test_other_tools() -> None:
    used = {"type": "tool_use", "tool_name": "glob", "tool_id": "1", "parameters": {"pattern": "*.py"}}
    assert GeminiOutput().feed(json.dumps(used)) == [ToolUsed(name="glob", text='{"pattern": "*.py"}')]


@pytest.mark.parametrize("line", ["", "no JSON", '{"type": "new"}', '{"type": "tool_use", "tool_name": "x"}'])
def test_what_is_not_understood_is_plain(line: str) -> None:
    assert GeminiOutput().feed(line) == [Plain(text=line)]


@given(st.integers())
def test_whatever_is_garbled_nothing_is_lost(seed: int) -> None:
    check_garbled(GeminiOutput, FIX, seed)


@given(json_of(FIX))
def test_any_json_is_taken(value: object) -> None:
    GeminiOutput().feed(json.dumps(value))
