"""How far the script of automatic setup came: it writes the time down before each of its sections.

The file lies where everybody in the sandbox can write. Nothing but what is shown depends on it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.model.setup_plan import Section

LARGEST_NOTES_BYTES = 64 * 1024

_NOTE = re.compile(r"(begin|end) (?:(\d{1,12})[.,](\d{6}))?", re.ASCII)
"""EPOCHREALTIME has the locale's decimal point; a bash older than 5.0 does not know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionEnd:
    """What became of a section that was begun."""

    section: Section
    seconds: float | None
    """None when it was killed, or is not known."""
    ok: bool


def notes_file(command: str) -> str:
    """Where the script of that command writes its notes."""
    return f"/cloister/out/.steps-{command}"


def with_notes(sections: Sequence[Section], command: str) -> str:
    """Return the script of these sections with a note before each of them, and one at its end, however it ends."""
    file = notes_file(command)
    parts = [f"rm -f {file} || :", f"trap '{_note('end', file)}' EXIT"]
    for section in sections:
        parts += [_note("begin", file), section.script]
    return "\n".join(parts) + "\n"


def read_notes(notes: bytes, sections: Sequence[Section], *, ok: bool) -> tuple[SectionEnd, ...]:
    """Return what became of each section that was begun; `ok` says whether the whole script succeeded.

    Nothing when the notes are none that `with_notes` would have written.
    """
    found = [_NOTE.fullmatch(line) for line in notes.decode("ascii", errors="replace").splitlines()]
    marks = [(mark[1], _seconds_of(mark)) for mark in found if mark is not None]
    begun = [time for kind, time in marks if kind == "begin"]
    ends = [time for kind, time in marks if kind == "end"]
    expected = ["begin"] * len(begun) + ["end"] * len(ends)
    if len(marks) != len(found) or [kind for kind, _ in marks] != expected or len(ends) > 1:
        return ()
    if not 0 < len(begun) <= len(sections):
        return ()
    until = [*begun[1:], ends[0] if ends else None]
    return tuple(
        SectionEnd(section=section, seconds=_between(start, end), ok=ok or number < len(begun))
        for number, (section, start, end) in enumerate(zip(sections, begun, until, strict=False), start=1)
    )


def _note(kind: str, file: str) -> str:
    return f'{{ echo "{kind} $EPOCHREALTIME" >>{file}; }} 2>/dev/null || :'


def _seconds_of(mark: re.Match[str]) -> float | None:
    return int(mark[2]) + int(mark[3]) / 1e6 if mark[2] else None


def _between(start: float | None, end: float | None) -> float | None:
    return max(0.0, end - start) if start is not None and end is not None else None
