import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.agents.aider_output import AiderOutput
from cloister.model.agent_report import AgentFailed, FilesChanged, Message, Plain, TokensUsed

from .parsing import check_spoilt_text, lines_of, read_all

FIX = lines_of("aider-0.86.2-fix.txt")


def test_a_whole_run() -> None:
    reports = read_all(AiderOutput(), FIX)
    assert [it for it in reports if not isinstance(it, Plain)] == [
        Message(text="I add something.\n\nHere it is:"),
        TokensUsed(input_tokens=1900, cached_input_tokens=0, output_tokens=34),
        FilesChanged(paths=("price.py",)),
        Message(text="Too much. Now right."),
        TokensUsed(input_tokens=2200, cached_input_tokens=0, output_tokens=32),
        FilesChanged(paths=("price.py",)),
    ]
    plain = [it.text for it in reports if isinstance(it, Plain)]
    assert "FAILED (failures=1)" in plain
    assert plain[-1] == "OK"


def test_an_edit_that_does_not_fit_is_no_change() -> None:
    reports = read_all(AiderOutput(), lines_of("aider-0.86.2-failures.txt"))
    assert [it.paths for it in reports if isinstance(it, FilesChanged)] == [("NOTES.md",)]
    wrong = read_all(AiderOutput(), lines_of("aider-0.86.2-wrong-key.txt"))
    (failed,) = [it for it in wrong if isinstance(it, AgentFailed)]
    assert "the key is not the script's" in failed.text


@pytest.mark.parametrize(
    ("line", "used"),
    [
        ("Tokens: 950 sent, 12 received.", TokensUsed(input_tokens=950, cached_input_tokens=0, output_tokens=12)),
        (
            "Tokens: 12k sent, 1.5k cache write, 3k cache hit, 1.2M received. Cost: $0.12 message, $0.34 session.",
            TokensUsed(input_tokens=12_000, cached_input_tokens=3000, output_tokens=1_200_000, cost=0.12),
        ),
        ("Tokens: ... sent, 1 received.", TokensUsed(input_tokens=0, cached_input_tokens=0, output_tokens=1)),
    ],
)
def test_counts_of_tokens(line: str, used: TokensUsed) -> None:
    assert AiderOutput().feed(line) == [used]


def test_prose_keeps_its_own_code() -> None:
    edit = ["a.py", "```python", "<<<<<<< SEARCH", "=======", "y", ">>>>>>> REPLACE", "```"]
    message, _ = read_all(AiderOutput(), ["So:", "```python", "x = 1", "```", *edit, "Tokens: 1 sent, 1 received."])
    assert message == Message(text="So:\n```python\nx = 1\n```")


def test_what_aider_says_of_its_files_is_no_answer() -> None:
    notice = "Added AGENTS.md to the chat (read-only)."
    reports = read_all(AiderOutput(), [notice, "", "It is right.", "Tokens: 1 sent, 1 received."])
    assert reports[:2] == [Plain(text=notice), Message(text="It is right.")]


CHANGED = ["So:", "", "", "a.py", "", "```diff", "@@ -1 +1 @@", "-a", "+b", "```", "", "Tokens: 1 sent, 1 received."]


def test_the_change_that_it_shows_of_a_whole_file_is_no_prose() -> None:
    _, message, *_ = read_all(AiderOutput(), ["Model: openai/m with whole edit format", *CHANGED])
    assert message == Message(text="So:")
    message, *_ = read_all(AiderOutput(), ["Model: openai/m with diff edit format", *CHANGED])[1:]
    assert "+b" in message.text, "the twin: there a model shows it"


@given(st.integers())
def test_whatever_is_garbled_it_goes_on(seed: int) -> None:
    check_spoilt_text(AiderOutput, FIX, seed)
