import json
from datetime import UTC, datetime, timedelta

import pytest

from cloister.asciicast import as_on_a_terminal, output_line, recording_lines, size_line

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]52;c;Y2xpcA==\x07",
        "\x1b]0;title\x1b\\",
        "\x1bPq\x1b\\",
        "\x1b[6n",
        "\x1b[c",
        "\x1b[>c",
        "\x1b[21t",
        "\x1bZ",
        "\x1bc",
        "\x05",
        "\x9d0;title\x9c",
    ],
)
def test_what_asks_or_sets_something_of_a_terminal_is_taken_out(text: str) -> None:
    assert json.loads(output_line(0, f"a{text}b"))[2] == "ab"


@pytest.mark.parametrize("text", ["\x1b[31mred\x1b[0m", "\x1b[2K\rnext", "\x1b[1;1H", "ä\t\b", "\x1b[?25l"])
def test_colours_and_movements_stay(text: str) -> None:
    assert json.loads(output_line(1.5, text)) == [1.5, "o", text]


def test_a_recording_begins_with_its_first_output() -> None:
    header, *lines = recording_lines("one", iter([(AT, "a"), (AT + timedelta(seconds=2), "b")]))
    assert json.loads(header) == {
        "version": 2,
        "width": 80,
        "height": 24,
        "timestamp": int(AT.timestamp()),
        "title": "one",
    }
    assert [json.loads(line) for line in lines] == [[0.0, "o", "a"], [2.0, "o", "b"]]
    assert list(recording_lines("none", iter([]))) == []


def test_lines_and_sizes_are_as_on_a_terminal() -> None:
    assert as_on_a_terminal("a\nb\r\nc") == "a\r\nb\r\nc"
    assert json.loads(size_line(1, 71, 17)) == [1, "r", "71x17"]
