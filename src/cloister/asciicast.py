"""Recordings of terminals: asciicast, version 2 (docs.asciinema.org/manual/asciicast/v2)."""

import json
import re
from collections.abc import Iterator
from datetime import datetime

_COLUMNS, _ROWS = 80, 24
_ASKS_OR_SETS = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|(?=\n)|$)"  # titles, clipboard, links
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[cntx]"  # reports, which the terminal would type; windows
    r"|\x1b[cZ]|\x05",
    re.DOTALL,
)
"""ECMA-48, 5.6 (control strings), and xterm's reports: what a player's terminal must not get from a sandbox."""


def header_line(*, at: datetime, title: str, columns: int = _COLUMNS, rows: int = _ROWS) -> str:
    """Return the first line of a recording that begins at `at`."""
    header = {"version": 2, "width": columns, "height": rows, "timestamp": int(at.timestamp()), "title": title}
    return json.dumps(header)


def output_line(seconds: float, text: str) -> str:
    """Return the line that says that a program wrote this, so many seconds after the beginning.

    Colours and movements stay; what asks or sets something of the terminal is taken out.
    """
    return json.dumps([round(max(0.0, seconds), 6), "o", harmless(text)])


def harmless(text: str) -> str:
    """Take out what asks or sets something of the terminal that shows it."""
    return _ASKS_OR_SETS.sub("", text)


def size_line(seconds: float, columns: int, rows: int) -> str:
    """Return the line that says that the window has another size from here on."""
    return json.dumps([round(max(0.0, seconds), 6), "r", f"{columns}x{rows}"])


def as_on_a_terminal(text: str) -> str:
    """Return what was written to a pipe as a terminal shows it: there every line feed goes to the line's beginning."""
    return re.sub(r"(?<!\r)\n", "\r\n", text)


def recording_lines(title: str, output: Iterator[tuple[datetime, str]]) -> Iterator[str]:
    """Yield a recording of these texts, each written when it says."""
    begin: datetime | None = None
    for at, text in output:
        if begin is None:
            begin = at
            yield header_line(at=at, title=title)
        yield output_line((at - begin).total_seconds(), text)
