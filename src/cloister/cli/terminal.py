"""Printing for people: consoles, and text from a sandbox made harmless to a terminal."""

import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|(?=\n)|$)"  # OSC, DCS: titles, clipboard, links
    r"|\x1b[ -/]*[0-~]"
)
"""ECMA-48, 5.4 (control sequences) and 5.6 (control strings)."""

_HARMFUL = dict.fromkeys(
    [
        *(code for code in range(0x20) if chr(code) not in "\n\t"),
        *range(0x7F, 0xA0),
        # Characters that turn the direction of text make it read as what it is not (CVE-2021-42574).
        *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029),
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    ],
    "\N{REPLACEMENT CHARACTER}",
)


def neutralize(text: str) -> str:
    """Take terminal escape sequences out of text that a sandbox wrote, and show other controls as U+FFFD."""
    return _ESCAPE_SEQUENCE.sub("", text).translate(_HARMFUL)


def neutralize_line(text: str) -> str:
    """Do so, and leave one line: a file may be called like lines of ours."""
    return neutralize(text).replace("\n", "\N{REPLACEMENT CHARACTER}")


class LineBuffer:
    """Cuts a stream of text into lines; of a line that was overwritten by carriage returns the last state counts."""

    LONGEST = 8192
    """Characters after which a line is cut, so that output without line ends is shown too."""

    def __init__(self) -> None:
        self._rest = ""

    def feed(self, text: str) -> list[str]:
        """Return the lines that are complete by now."""
        *lines, self._rest = (self._rest + text).split("\n")
        if len(self._rest) > self.LONGEST:
            lines.append(self._rest)
            self._rest = ""
        return [_last_state(line) for line in lines]

    def flush(self) -> list[str]:
        """Return what is left of an unfinished line."""
        rest, self._rest = self._rest, ""
        return [_last_state(rest)] if rest else []


class PipeConsole(Console):
    """A console that lets its caller know when nobody reads any more; Rich's own leaves the program at once."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise it again."""
        raise BrokenPipeError


def output_console() -> Console:
    """Return the console on standard output. Colour only on a terminal, and not with NO_COLOR (no-color.org)."""
    return PipeConsole(highlight=False, markup=False, emoji=False)


def error_console() -> Console:
    """Return the console on standard error."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_line(console: Console, text: Text | str) -> None:
    """Print one line, never wrapped."""
    console.print(text, soft_wrap=True)


def print_lines(console: Console, lines: Sequence[Text]) -> None:
    """Print lines, many at once: a flood of output costs little where it is not shown on a terminal."""
    if not lines:
        return
    if console.is_terminal:
        console.print(Text("\n").join(lines), soft_wrap=True)
    else:
        console.file.write("".join(f"{line.plain}\n" for line in lines))
        console.file.flush()


def print_table(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table on a terminal, and elsewhere as lines of tab-separated columns without headings."""
    if not console.is_terminal:
        for row in rows:
            console.file.write("\t".join(neutralize(cell) for cell in row) + "\n")
        return
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(neutralize(cell), overflow="ellipsis") for cell in row))
    console.print(table)


def leave_broken_pipe() -> None:
    """Send the rest of standard output nowhere, so that the interpreter's last flush is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _last_state(line: str) -> str:
    return line.rstrip("\r").rsplit("\r", 1)[-1]
