"""Which lines a diff shows, and where a line went: places for comments on a pull request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchedFile, PatchSet

from cloister.model.finding import Side

LARGEST_PLACED_BYTES = 8 * 1024 * 1024
"""Of a diff; in a larger one no line is looked for."""
_NOWHERE = "/dev/null"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownHunk:
    """The lines of one hunk, by their numbers before and after."""

    left: Mapping[int, str] = field(default_factory=dict)
    right: Mapping[int, str] = field(default_factory=dict)

    def side(self, side: Side) -> Mapping[int, str]:
        """Return those of one side."""
        return self.left if side is Side.LEFT else self.right


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Lines that a diff shows, all in one hunk."""

    line: int
    start_line: int | None
    """None for one line."""
    text: str
    """Of these lines."""
    whole: bool
    """Whether these are all lines that were asked for."""


Shown = Mapping[str, Sequence[ShownHunk]]
"""By path, of a renamed file by its new one."""


def shown_lines(diff: bytes) -> Shown:
    """Return what a diff shows; nothing for one that is too large, or that cannot be read."""
    return {_path_of(it): [_hunk(hunk) for hunk in it] for it in _files(diff)}


def find_place(shown: Shown, path: str, side: Side, first: int, last: int) -> Place | None:
    """Return where these lines are shown; without the first of them when that is in no hunk of the last."""
    for hunk in shown.get(path, ()):
        lines = hunk.side(side)
        if last in lines:
            whole = all(number in lines for number in range(first, last + 1))
            begin = first if whole else last
            text = "\n".join(lines[number] for number in range(begin, last + 1))
            return Place(line=last, start_line=begin if begin != last else None, text=text, whole=whole)
    return None


class Moved:
    """Where lines of one commit are in a later one."""

    def __init__(self, diff: bytes) -> None:
        """The diff between them, without lines around changes."""
        self._files = {_source_of(it): it for it in _files(diff)}

    def find(self, path: str, line: int) -> tuple[str, int] | None:
        """Return path and number that a line has now; None when it was changed, or is gone."""
        file = self._files.get(path)
        if file is None:
            return path, line
        if file.is_removed_file:
            return None
        shift = 0
        for hunk in file:
            begin = hunk.source_start + (hunk.source_length == 0)  # what only adds says the line before
            if line < begin:
                break
            if line < begin + hunk.source_length:
                return None
            shift += hunk.target_length - hunk.source_length
        return _path_of(file), line + shift


def _files(diff: bytes) -> Sequence[PatchedFile]:
    if len(diff) > LARGEST_PLACED_BYTES:
        return ()
    try:
        return list(PatchSet(diff.decode(errors="replace")))
    except UnidiffParseError:
        return ()


def _hunk(hunk: object) -> ShownHunk:
    left: dict[int, str] = {}
    right: dict[int, str] = {}
    for line in hunk:  # type: ignore[attr-defined]  # unidiff has no types for it
        text = line.value.rstrip("\r\n")
        if line.source_line_no is not None:
            left[line.source_line_no] = text
        if line.target_line_no is not None:
            right[line.target_line_no] = text
    return ShownHunk(left=left, right=right)


def _path_of(file: PatchedFile) -> str:
    return _source_of(file) if file.is_removed_file else file.target_file.removeprefix("b/")


def _source_of(file: PatchedFile) -> str:
    if file.source_file == _NOWHERE:
        return file.target_file.removeprefix("b/")
    return file.source_file.removeprefix("a/")
