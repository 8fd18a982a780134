import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.agents.mini_swe_agent_output import MiniSweAgentOutput
from cloister.model.agent_report import AgentFailed, AgentReport, CommandFinished, CommandStarted, Message, Plain

from .parsing import check_spoilt_text, lines_of, read_all

FIX = lines_of("mini-swe-agent-2.4.6-fix.txt")


def work_of(recording: str) -> list[AgentReport]:
    """What was told besides what other libraries print."""
    return [it for it in read_all(MiniSweAgentOutput(), lines_of(recording)) if not isinstance(it, Plain)]


def test_a_whole_run() -> None:
    reports = work_of("mini-swe-agent-2.4.6-fix.txt")
    ended = [it for it in reports if isinstance(it, CommandFinished)]
    assert [(it.number, it.status) for it in ended] == [(1, 1), (2, 0), (3, 0), (4, 0)]
    assert ended[0].output.startswith("F\n====")
    assert ended[0].output.endswith("FAILED (failures=1)")
    assert ended[3].command_line == "python3 test_price.py && cat NOTES.md"
    assert reports[0] == Message(text="I run the tests first.")
    assert reports[-1] == Message(text="Fixed: `total` subtracted, now it adds up.")


def test_words_and_commands_with_fences_of_their_own() -> None:
    listing = "cat <<'X'\n```\nnot a fence\n```\nX"
    assert work_of("mini-swe-agent-2.4.6-failures.txt") == [
        Message(text="I look.\n\n```python\nx = 1\n```\nThen I run."),
        CommandStarted(number=1, command_line="echo partly; exit 3"),
        CommandFinished(number=1, command_line="echo partly; exit 3", output="partly", status=3),
        CommandStarted(number=2, command_line=listing),
        CommandFinished(number=2, command_line=listing, output="```\nnot a fence\n```", status=0),
        Message(text="Nothing was done."),
    ]


def test_a_wrong_key() -> None:
    (failed,) = work_of("mini-swe-agent-2.4.6-wrong-key.txt")
    assert isinstance(failed, AgentFailed)
    assert "the key is not the script's" in failed.text


def test_several_commands_of_a_step_get_their_results_and_one_without_is_told() -> None:
    step = [
        "mini-swe-agent (step 1, $0.00):",
        "```",
        "one",
        "```",
        "",
        "```",
        "two",
        "```",
        "",
        "Tool:",
        "<returncode>",
    ]
    reports = read_all(MiniSweAgentOutput(), [*step, "7", "<output>", "said"])
    assert reports == [
        CommandStarted(number=1, command_line="one"),
        CommandFinished(number=1, command_line="one", output="said", status=7),
        CommandStarted(number=2, command_line="two"),
    ]


@pytest.mark.parametrize("lines", [["mini: error: no such option"], ["", "Traceback", "  x"]])
def test_what_is_no_work_is_plain(lines: list[str]) -> None:
    assert read_all(MiniSweAgentOutput(), lines) == [Plain(text=line) for line in lines]


@given(st.integers())
def test_whatever_is_garbled_it_goes_on(seed: int) -> None:
    check_spoilt_text(MiniSweAgentOutput, FIX, seed)
