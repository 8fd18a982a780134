"""What a repository on this machine said of itself, for as long as nothing that it depends on has changed.

Asking git costs two processes, and more time than all the rest of accepting a task. What git answers is in a few small
files: HEAD, one file for each ref that is not packed, and `packed-refs`. Where there is more to it (a linked work tree,
another store of refs, settings that include others), nothing is known here, and git is asked each time.
"""

import os
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from cloister.forges.remote import HEADS, TAGS, Remote

_MOST_KNOWN = 100
_MOST_REFS = 256
"""That are not packed; git packs them now and then."""
_LARGEST_FILE_BYTES = 64 * 1024
_SETTLED_SECONDS = 2.0
"""A packed-refs file that is younger may be written again without a difference in its times."""
_MORE_TO_IT = (b"include", b"worktreeconfig", b"refstorage")


@dataclass(frozen=True, slots=True)
class State:
    """All that git's answer depends on, by value."""

    place: tuple[int, ...]
    """Which directory it is, and whose: git does not read everybody's."""
    settings: bytes
    packed: tuple[int, ...] | None
    loose: tuple[tuple[str, bytes], ...]
    """By name, HEAD among them."""


class Unchanged:
    """Remembers answers."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[State, Remote]] = OrderedDict()

    def find(self, address: str, state: State | None) -> Remote | None:
        """Return what the repository at that address said when it was in that state."""
        known = self._known.get(address)
        return known[1] if known is not None and state is not None and known[0] == state else None

    def keep(self, path: Path, state: State | None, remote: Remote) -> None:
        """Remember what the one at `path` said after it was in that state, unless it has changed meanwhile."""
        if state is None or state != state_of(path) or not _agrees(remote, state):
            return
        self._known[remote.address] = (state, remote)
        self._known.move_to_end(remote.address)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)


def state_of(path: Path) -> State | None:
    """Read the state of the repository at `path`; None where it is in other files, or cannot be told."""
    git_dir = path / ".git"
    if not os.path.lexists(git_dir):
        git_dir = path
    try:
        if os.path.lexists(git_dir / "commondir") or os.path.lexists(git_dir / "reftable"):
            return None
        settings = _read(git_dir / "config")
        if any(word in settings.lower() for word in _MORE_TO_IT):
            return None
        top, inner = path.stat(), git_dir.stat()
        loose = [("HEAD", _read(git_dir / "HEAD"))]
        _add_loose(loose, git_dir, "refs")
        return State(
            place=(top.st_dev, top.st_ino, top.st_uid, inner.st_dev, inner.st_ino, inner.st_uid),
            settings=settings,
            packed=_packed(git_dir / "packed-refs"),
            loose=tuple(sorted(loose)),
        )
    except (OSError, _UnknownError):
        return None


class _UnknownError(Exception):
    """What is found there is not understood here."""


def _add_loose(loose: list[tuple[str, bytes]], git_dir: Path, folder: str) -> None:
    with os.scandir(git_dir / folder) as entries:
        for entry in entries:
            name = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                _add_loose(loose, git_dir, name)
            elif not entry.is_file(follow_symlinks=False) or len(loose) > _MOST_REFS:
                raise _UnknownError
            else:
                loose.append((name, _read(entry.path)))


def _packed(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    if abs(time.time() - max(found.st_mtime, found.st_ctime)) < _SETTLED_SECONDS:
        raise _UnknownError
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(path: Path | str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        data = os.read(descriptor, _LARGEST_FILE_BYTES)
    finally:
        os.close(descriptor)
    if len(data) == _LARGEST_FILE_BYTES:
        raise _UnknownError
    return data


def _agrees(remote: Remote, state: State) -> bool:
    """Whether the answer is of that state, and not of one in between."""
    refs = {name: data.strip().decode("ascii", "replace") for name, data in state.loose}
    told = {name: value for name, value in refs.items() if name.startswith((HEADS, TAGS))}
    return all(remote.refs.get(name) == value for name, value in told.items() if not value.startswith("ref:"))
