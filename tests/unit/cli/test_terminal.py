import io
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cloister.cli.terminal import LineBuffer, PipeConsole, neutralize, print_table


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hclear", "clear"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]52;c;aGk=\x1b\\text", "text"),
        ("\x9d0;title\x9ctext", "text"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bP+q544e\x1b\\text", "text"),
        ("\x1b]0;never ended", ""),
        ("\x1bc\x1b(0x", "x"),
        ("a\x1b", "a\N{REPLACEMENT CHARACTER}"),
        ("a\rb\x08\x00\x7f", "a" + "\N{REPLACEMENT CHARACTER}b" + "\N{REPLACEMENT CHARACTER}" * 3),
        ("file\u202etxt.exe", "file\N{REPLACEMENT CHARACTER}txt.exe"),
        ("a\tb\nc [bold]d[/bold]", "a\tb\nc [bold]d[/bold]"),
        ("grüße 木 🎉", "grüße 木 🎉"),
    ],
)
def test_escape_sequences_are_taken_out(hostile: str, shown: str) -> None:
    assert neutralize(hostile) == shown


@given(st.text(alphabet=st.characters() | st.sampled_from("\x1b\x9b\x9d[]0;m\x07\\\r")))
def test_no_control_character_is_left(text: str) -> None:
    left = {character for character in neutralize(text) if unicodedata.category(character) == "Cc"}
    assert left <= {"\n", "\t"}


@given(st.text(alphabet="ab\r\n"), st.lists(st.integers(min_value=0, max_value=50)))
def test_lines_do_not_depend_on_where_output_is_cut(text: str, cuts: list[int]) -> None:
    whole, cut = LineBuffer(), LineBuffer()
    places = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]
    lines = [line for piece in pieces for line in cut.feed(piece)]
    assert [*lines, *cut.flush()] == [*whole.feed("".join(pieces)), *whole.flush()]


def test_a_line_that_was_overwritten_is_shown_as_it_ended() -> None:
    assert LineBuffer().feed(" 10%\r 50%\r100%\ndone\r\n") == ["100%", "done"]


def test_a_line_without_end_is_shown_too() -> None:
    buffer = LineBuffer()
    assert buffer.feed("x" * 10_000) == ["x" * 10_000]
    assert buffer.flush() == []


def test_a_table_in_a_pipe_is_columns_by_tabs() -> None:
    file = io.StringIO()
    print_table(Console(file=file), ("a", "b"), [("1", "x" * 500), ("\x1b[31m2", "y\tz")])
    first, second = file.getvalue().splitlines()
    assert first == "1\t" + "x" * 500
    assert second.startswith("2\t")


def test_a_reader_that_left_is_noticed() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        PipeConsole(file=Gone()).print("x")
