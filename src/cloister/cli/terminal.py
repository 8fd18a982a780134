"""Printing for people: consoles, and text from a sandbox made harmless to a terminal."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloister.neutral_text import LineBuffer as LineBuffer
from cloister.neutral_text import neutralize as neutralize
from cloister.neutral_text import neutralize_line as neutralize_line


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
