"""Finds what a script of setup wrote to files that tell agents what to do. Undoing it is taking it out of the layer."""

import difflib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cloister.model.instructions import PLACES, STARTUP_FILES, Restored, is_instruction, leads_in
from cloister.model.sandbox import WORKSPACE
from cloister.sandboxes.oci.beneath import read_beneath
from cloister.sandboxes.oci.worktree.written import WorkTreeGoneError, WrittenKind, list_written

LARGEST_READ_BYTES = 64 * 1024
_MOST_STARTUP_FILES = 100
_OF_GIT = (".git/config", ".git/config.worktree", ".git/hooks")
"""A checkout makes these anew anyway; here it is found out that somebody had changed them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenInstruction:
    """One path of the layer."""

    path: str
    content: bytes | None
    """None for what is no regular file: a folder, a link, or a removal."""

    def restored(self, present: bytes | None) -> Restored:
        """Return what is told of it, now that `present` is what is there."""
        return Restored(path=f"/{self.path}", diff=_diff(self.path, present, self.content))


def find_instructions(upper: Path, directory: str) -> Sequence[WrittenInstruction]:
    """Return what was written to the layer, sorted; of a folder that is all an agent's, the folder alone.

    TaskFailedError when so much was written to the work tree that not all of it can be looked at.
    """
    paths = sorted({*_in_places(upper), *_in_work_tree(upper, directory)})
    return [
        WrittenInstruction(path=path, content=read_beneath(upper, path, limit_bytes=LARGEST_READ_BYTES))
        for number, path in enumerate(paths)
        if not any(path.startswith(f"{outer}/") for outer in paths[:number])
    ]


def find_leading(upper: Path) -> Sequence[Restored]:
    """Return the start-up files in the layer that lead agents elsewhere; of a folder at most the first hundred."""
    found = []
    for path in _startup_files(upper):
        content = read_beneath(upper, path, limit_bytes=LARGEST_READ_BYTES)
        if content is not None and (leads := leads_in(content.decode(errors="replace"))):
            found.append(Restored(path=f"/{path}", leads=leads))
    return found


def _startup_files(upper: Path) -> Iterator[str]:
    for place in STARTUP_FILES:
        if _first_written(upper, place) != place:
            continue
        if stat.S_ISDIR(os.lstat(upper / place).st_mode):
            names = sorted(entry.name for entry in (upper / place).iterdir())
            yield from (f"{place}/{name}" for name in names[:_MOST_STARTUP_FILES])
        else:
            yield place


def _in_places(upper: Path) -> Iterator[str]:
    for place in PLACES:
        if (found := _first_written(upper, place)) is not None:
            yield found


def _first_written(upper: Path, place: str) -> str | None:
    """Return `place` if it was written, or what stands on the way to it and is no directory any more."""
    parts = place.split("/")
    for count in range(1, len(parts) + 1):
        path = "/".join(parts[:count])
        try:
            mode = os.lstat(upper / path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if count == len(parts) or not stat.S_ISDIR(mode):
            return path
    return None


def _in_work_tree(upper: Path, directory: str) -> Iterator[str]:
    tree = f"{WORKSPACE.lstrip('/')}/{directory}"
    yield from _of_git(upper, tree)
    with suppress(WorkTreeGoneError):  # there is no work tree any more, until the next checkout
        for written in list_written(upper, directory):
            path = os.fsdecode(written.path)
            if written.kind is not WrittenKind.DIRECTORY and is_instruction(path):
                yield f"{tree}/{path}"


def _of_git(upper: Path, tree: str) -> Iterator[str]:
    for name in _OF_GIT:
        place = f"{tree}/{name}"
        found = _first_written(upper, place)
        if found == place and stat.S_ISDIR(os.lstat(upper / place).st_mode):
            yield from (f"{place}/{hook.name}" for hook in (upper / place).iterdir())
        elif found == place or (found == f"{tree}/.git" and not stat.S_ISCHR(os.lstat(upper / found).st_mode)):
            yield found  # a link in the place of `.git` leads to the host's files, and is not followed


def _diff(path: str, present: bytes | None, undone: bytes | None) -> str:
    if undone is None:
        return ""
    before, after = (
        (content or b"").decode(errors="replace").splitlines(keepends=True) for content in (present, undone)
    )
    return "".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"))
