import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.agents.codex_output import CodexOutput
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

FIX = lines_of("codex-0.169.0-fix.jsonl")


def test_a_whole_run() -> None:
    reports = read_all(CodexOutput(), FIX)
    failed, passed = [report for report in reports if isinstance(report, CommandFinished)]
    assert failed.output.startswith("F\n=====")
    assert failed.output.endswith("FAILED (failures=1)\n")
    line = "python3 test_price.py && cat NOTES.md"
    assert reports == [
        SessionNamed(session=json.loads(FIX[0])["thread_id"]),
        Reasoning(text="**Looking at the test**"),
        Message(text="I run the tests first."),
        CommandStarted(number=1, command_line="python3 test_price.py"),
        CommandFinished(number=1, command_line="python3 test_price.py", output=failed.output, status=1),
        FilesChanged(paths=("/workspace/shop/price.py",)),
        FilesChanged(paths=("/workspace/shop/NOTES.md",)),
        CommandStarted(number=2, command_line=line),
        CommandFinished(number=2, command_line=line, output=passed.output, status=0),
        Message(text="Fixed: `total` subtracted, now it adds up."),
        TokensUsed(input_tokens=500, cached_input_tokens=0, output_tokens=50),
    ]


def test_an_error_is_told_once() -> None:
    reports = read_all(CodexOutput(), lines_of("codex-0.169.0-wrong-key.jsonl"))
    texts = [report.text for report in reports if isinstance(report, AgentFailed)]
    assert [text.partition(" (")[0] for text in texts[:-1]] == [f"Reconnecting... {n}/5" for n in range(1, 6)]
    assert texts[-1].startswith("unexpected status 401 Unauthorized")
    assert len(texts) == 6


def test_of_a_providers_answer_the_message_is_told() -> None:
    answer = json.dumps({"error": {"message": "no such model", "code": None}})
    line = json.dumps({"type": "error", "message": answer})
    assert CodexOutput().feed(line) == [AgentFailed(text="no such model")]


def test_it_goes_on_after_faults() -> None:
    reports = read_all(CodexOutput(), lines_of("codex-0.169.0-faults.jsonl"))
    assert [type(report) for report in reports] == [SessionNamed, AgentFailed, AgentFailed, Message, TokensUsed]


@pytest.mark.parametrize(
    ("item", "report"),
    [
        (
            {"type": "todo_list", "items": [{"text": "look", "completed": True}, {"text": "fix", "completed": False}]},
            PlanMade(steps=(PlanStep(text="look", done=True), PlanStep(text="fix", done=False))),
        ),
        (
            {"type": "mcp_tool_call", "server": "docs", "tool": "search", "arguments": {"q": "é"}},
            ToolUsed(name="docs.search", text='{"q": "é"}'),
        ),
        ({"type": "web_search", "query": "a library"}, ToolUsed(name="web_search", text="a library")),
        ({"type": "error", "message": "no such model"}, AgentFailed(text="no such model")),
    ],
)
def test_items_that_the_recordings_lack(item: dict[str, object], report: object) -> None:
    line = json.dumps({"type": "item.completed", "item": {"id": "item_1", **item}})
    assert CodexOutput().feed(line) == [report]


def test_a_change_that_failed_is_none() -> None:
    item = {"id": "1", "type": "file_change", "changes": [{"path": "a", "kind": "add"}], "status": "failed"}
    line = json.dumps({"type": "item.completed", "item": item})
    assert CodexOutput().feed(line) == [Plain(text=line)]


@pytest.mark.parametrize(
    "line", ["", "warning: no", "[1]", '{"type": "new"}', '{"type": "turn.completed"}', "{" * 5000]
)
def test_what_is_not_understood_is_plain(line: str) -> None:
    assert CodexOutput().feed(line) == [Plain(text=line)]


@given(st.integers())
def test_whatever_is_garbled_nothing_is_lost(seed: int) -> None:
    check_garbled(CodexOutput, FIX, seed)


@given(json_of(FIX))
def test_any_json_is_taken(value: object) -> None:
    CodexOutput().feed(json.dumps({"type": "item.completed", "item": value}))
    CodexOutput().feed(json.dumps(value))
