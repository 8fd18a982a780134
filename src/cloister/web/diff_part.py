"""A part of one file's diff, cut out before it is read in detail: a page costs what it shows, not what there is."""

import re
from dataclasses import replace

from cloister.web.diff_view import FileDiff, Row, rows_of

_HEADING = re.compile(rb"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@(.*)", re.DOTALL)
_SIDES = b"--- a\n+++ b\n"


def part_of(file: FileDiff, start: int, end: int) -> tuple[list[Row], int]:
    """Return the rows of a file's diff from `start` until before `end`, and how many there are in all."""
    lines = file.raw.removesuffix(b"\n").split(b"\n")
    first = next((number for number, line in enumerate(lines) if line.startswith(b"@@ ")), len(lines))
    total = len(lines) - first
    if start == 0 and total <= end:
        return rows_of(file), total
    shown = lines[first + start : first + end]
    is_within = bool(shown) and not shown[0].startswith(b"@@ ")
    if is_within:
        shown = [_heading_at(lines, first + start), *shown]
    rows = rows_of(replace(file, raw=_SIDES + b"\n".join(_counted(shown)) + b"\n"))
    return rows[1:] if is_within else rows, total


def _heading_at(lines: list[bytes], at: int) -> bytes:
    """Return the heading that a hunk would have, if it began with that line."""
    above = at
    while not lines[above].startswith(b"@@ "):
        above -= 1
    found = _HEADING.fullmatch(lines[above])
    if found is None:
        return b"@@ -1 +1 @@"
    old, new = int(found[1]), int(found[2])
    for line in lines[above + 1 : at]:
        old += line[:1] in (b" ", b"-")
        new += line[:1] in (b" ", b"+")
    return b"@@ -%d +%d @@%s" % (old, new, found[3])


def _counted(lines: list[bytes]) -> list[bytes]:
    """Let each heading say how many lines follow it here."""
    counted = list(lines)
    old = new = 0
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        old += line[:1] in (b" ", b"-")
        new += line[:1] in (b" ", b"+")
        if (found := _HEADING.fullmatch(line)) is not None:
            counted[number] = b"@@ -%d,%d +%d,%d @@%s" % (int(found[1]), old, int(found[2]), new, found[3])
            old = new = 0
    return counted
