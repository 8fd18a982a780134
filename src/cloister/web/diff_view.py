"""A diff as pages show it: files first, then rows with the words that differ, in parts that stay small."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest

from unidiff.errors import UnidiffParseError
from unidiff.patch import Line, PatchSet

from cloister.model.diff import changed_paths
from cloister.model.flag import Flag

ROWS_AT_ONCE = 1000
"""Of one file's diff."""
CHANGED_AT_ONCE = 2000
"""Lines of all files together that are shown unasked."""
FILES_AT_ONCE = 100
"""Files that are shown unasked."""
FOLDED_FROM = 400
"""Rows from which a file is shown only when somebody asks for it."""

_FILE = re.compile(rb"^(?=diff --git )", re.MULTILINE)
_LONGEST_COMPARED = 400
"""Characters of lines whose words are compared."""
_MOST_COMPARED = 60
"""Lines of one change whose words are compared."""
_WORDS = re.compile(r"\w+|\s+|.")
_ALIKE = 0.3
_KINDS = (
    (b"\nGIT binary patch", "binary"),
    (b"\nnew file", "new"),
    (b"\ndeleted file", "deleted"),
    (b"\nold mode", "mode"),
)

Part = tuple[str, bool]
"""Text, and whether it differs from that of the other side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDiff:
    """What a change does to one file."""

    number: int
    """From 1, in the diff's order."""
    path: str
    what: str
    """new, deleted, binary, mode or changed."""
    added: int
    removed: int
    flags: tuple[Flag, ...]
    raw: bytes

    @property
    def folded(self) -> bool:
        """Whether it is too long to be shown unasked."""
        return self.added + self.removed > FOLDED_FROM


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a file, or, with `heading`, what a part of the diff begins with."""

    sign: str = " "
    old: int | None = None
    new: int | None = None
    parts: tuple[Part, ...] = ()
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """What stands side by side."""

    left: Row | None
    right: Row | None


def files_of(diff: bytes, flags: Iterable[Flag] = ()) -> list[FileDiff]:
    """Return the files that a diff, as git writes it, changes. Nothing of their lines is looked at in detail yet."""
    sections = [section for section in _FILE.split(diff) if section.startswith(b"diff --git ")]
    by_path: dict[str, list[Flag]] = {}
    for flag in flags:
        by_path.setdefault(flag.path, []).append(flag)
    return [
        _file(number, path.encode(errors="replace").decode(), raw, by_path)
        for number, (path, raw) in enumerate(zip(changed_paths(diff), sections, strict=True), 1)
    ]


def unfolded(files: Iterable[FileDiff]) -> list[FileDiff]:
    """Return those whose lines are shown unasked: the short ones, until there are enough for one page."""
    shown, changed = list[FileDiff](), 0
    for file in files:
        if not file.folded and changed + file.added + file.removed <= CHANGED_AT_ONCE and len(shown) < FILES_AT_ONCE:
            shown.append(file)
            changed += file.added + file.removed
    return shown


def rows_of(file: FileDiff) -> list[Row]:
    """Return the rows of a file's diff, unified; none for what has no lines, such as binary data."""
    try:
        patch = PatchSet(file.raw.decode(errors="replace"))
    except UnidiffParseError:
        return [Row(parts=((line, False),)) for line in file.raw.decode(errors="replace").split("\n")]
    rows: list[Row] = []
    for hunk in (hunk for part in patch for hunk in part):
        head = f"@@ -{hunk.source_start},{hunk.source_length} +{hunk.target_start},{hunk.target_length} @@"
        rows.append(Row(heading=f"{head} {hunk.section_header}".rstrip()))
        rows += _with_words([_row(line) for line in hunk])
    return rows


def side_by_side(rows: Sequence[Row]) -> list[Pair]:
    """Return the same rows as pairs: what was removed beside what was added in its place."""
    pairs: list[Pair] = []
    for removed, added, other in _blocks(rows):
        pairs += [Pair(left, right) for left, right in zip_longest(removed, added)]
        if other is not None:
            pairs.append(Pair(other, other))
    return pairs


def _file(number: int, path: str, raw: bytes, flags: dict[str, list[Flag]]) -> FileDiff:
    head, _, body = raw.partition(b"\n@@ ")
    lines = body.split(b"\n")[1:]  # what the heading of the first hunk says of it is no line
    added = sum(line.startswith(b"+") for line in lines)
    removed = sum(line.startswith(b"-") for line in lines)
    return FileDiff(
        number=number,
        path=path,
        what=_what(head),
        added=added,
        removed=removed,
        flags=tuple(flags.get(path, ())),
        raw=raw,
    )


def _what(head: bytes) -> str:
    for mark, what in _KINDS:
        if mark in head:
            return what
    return "changed"


def _row(line: Line) -> Row:
    sign = line.line_type if line.line_type in "+-\\" else " "
    text = line.value.rstrip("\n")
    return Row(sign=sign, old=line.source_line_no, new=line.target_line_no, parts=((text, False),))


def _blocks(rows: Iterable[Row]) -> Iterator[tuple[list[Row], list[Row], Row | None]]:
    """Yield what was removed and added in one place, and the row behind that."""
    removed, added = list[Row](), list[Row]()
    for row in rows:
        if row.sign == "-" and not added:
            removed.append(row)
        elif row.sign == "+":
            added.append(row)
        elif row.sign == "-":
            yield removed, added, None
            removed, added = [row], []
        else:
            yield removed, added, row
            removed, added = [], []
    if removed or added:
        yield removed, added, None


def _with_words(rows: list[Row]) -> list[Row]:
    found: list[Row] = []
    for removed, added, other in _blocks(rows):
        if len(removed) == len(added) <= _MOST_COMPARED:
            pairs = [_compared(old, new) for old, new in zip(removed, added, strict=True)]
            removed, added = [old for old, _ in pairs], [new for _, new in pairs]
        found += [*removed, *added, *([other] if other is not None else [])]
    return found


def _compared(old: Row, new: Row) -> tuple[Row, Row]:
    before, after = old.parts[0][0], new.parts[0][0]
    if max(len(before), len(after)) > _LONGEST_COMPARED:
        return old, new
    words, others = _WORDS.findall(before), _WORDS.findall(after)
    matcher = SequenceMatcher(None, words, others, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return old, new
    left, right = list[Part](), list[Part]()
    for kind, i1, i2, j1, j2 in matcher.get_opcodes():
        differs = kind != "equal"
        left += [("".join(words[i1:i2]), differs)] if i1 != i2 else []
        right += [("".join(others[j1:j2]), differs)] if j1 != j2 else []
    return (
        Row(sign=old.sign, old=old.old, parts=tuple(left)),
        Row(sign=new.sign, new=new.new, parts=tuple(right)),
    )
