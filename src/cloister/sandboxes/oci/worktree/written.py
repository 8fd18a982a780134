"""Lists what was written to a work tree, from the upper layer of its overlay."""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

from cloister.errors import SandboxError, TaskFailedError
from cloister.model.sandbox import WORKSPACE

MOST_PATHS = 1_000_000
LONGEST_PATH_BYTES = 4000
"""Git opens by path, so it sees nothing beyond PATH_MAX (4096) either."""
_OPAQUE = "trusted.overlay.opaque"
_WHITEOUT = "trusted.overlay.whiteout"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class WorkTreeGoneError(TaskFailedError):
    """There is no work tree any more: it was removed, or something else is in its place."""


class WrittenKind(StrEnum):
    """What stands in the upper layer at a path; the value is its letter in the list."""

    FILE = "f"
    SYMLINK = "l"
    DIRECTORY = "d"
    """Shows what is in it over what is below."""
    OPAQUE = "o"
    """A directory that hides everything below."""
    REMOVED = "r"
    OTHER = "x"
    """A fifo, socket or device: nothing to git, but it stands where something else may have been."""


@dataclass(frozen=True, slots=True)
class Written:
    """One path that was written to or removed."""

    path: bytes
    """Relative to the work tree; empty for the work tree itself."""
    kind: WrittenKind


def list_written(upper: Path, directory: str, *, most: int = MOST_PATHS) -> Sequence[Written]:
    """Return everything that `upper` holds of /workspace/`directory`, parents first, without its `.git`.

    Follows no symlink, opens directories only, and needs no more than one descriptor for any depth. The forms of
    removal are those of the kernel's Documentation/filesystems/overlayfs.rst. Paths that are too long for git
    are left out. Raises WorkTreeGoneError when the work tree is gone or is no directory any more, and TaskFailedError
    when more than `most` paths were written.
    """
    found: list[Written] = []
    root = os.open(upper, _OPEN)
    try:
        kind = _find_tree(root, directory)
        if kind is None:
            return found
        found.append(Written(b"", kind))
        for written in _walk(root, os.fsencode(f"{WORKSPACE.lstrip('/')}/{directory}"), most):
            found.append(written)
            if len(found) > most:
                raise TaskFailedError(
                    f"more than {most} paths were written in the work tree",
                    hint="have build products written outside of it, or fewer of them",
                )
    finally:
        os.close(root)
    return found


def write_list(path: Path, written: Sequence[Written]) -> None:
    """Write the list for `collect.py`: of each a letter, a space, the path, and NUL."""
    path.write_bytes(b"".join(b"%s %s\0" % (entry.kind.encode(), entry.path) for entry in written))


def _find_tree(root: int, directory: str) -> WrittenKind | None:
    """Say what was made of the work tree as a whole; None when nothing in it was touched."""
    hidden = False
    parent = os.dup(root)
    try:
        for name in (WORKSPACE.lstrip("/"), directory):
            try:
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            except FileNotFoundError:
                if hidden:
                    raise _gone(directory) from None
                return None
            if not stat.S_ISDIR(status.st_mode):
                raise _gone(directory)
            child = os.open(name, _OPEN, dir_fd=parent)
            os.close(parent)
            parent = child
            hidden = hidden or _has(parent, _OPAQUE, b"y")
    finally:
        os.close(parent)
    return WrittenKind.OPAQUE if hidden else WrittenKind.DIRECTORY


def _gone(directory: str) -> WorkTreeGoneError:
    return WorkTreeGoneError(f"{WORKSPACE}/{directory} was removed or replaced, so there is no work tree any more")


def _walk(root: int, tree: bytes, most: int) -> Iterator[Written]:
    """Yield what is below `tree`. Down by name and up by `..`: what a directory costs does not grow with its depth."""
    descriptor = _open_beneath(root, tree)
    above: list[_Level] = []
    try:
        level = _Level(_identity(descriptor), _list_folder(descriptor, b"", most))
        while True:
            yield from level.take_entries()
            if level.folders:
                folder = level.folders.pop()
                descriptor = _step(descriptor, os.path.basename(folder))
                above.append(level)
                level = _Level(_identity(descriptor), _list_folder(descriptor, folder, most))
            elif above:
                level = above.pop()
                descriptor = _step(descriptor, b"..")
                if _identity(descriptor) != level.identity:
                    raise SandboxError("a directory of the work tree was moved while it was read")
            else:
                return
    finally:
        os.close(descriptor)


class _Level:
    """A directory on the way from the work tree to where the walk is."""

    def __init__(self, identity: tuple[int, int], entries: Sequence[Written]) -> None:
        self.identity = identity
        self.folders = [entry.path for entry in entries if entry.kind in (WrittenKind.DIRECTORY, WrittenKind.OPAQUE)]
        """Those that were not entered yet."""
        self._entries = entries

    def take_entries(self) -> Sequence[Written]:
        """Return them once."""
        entries, self._entries = self._entries, ()
        return entries


def _list_folder(descriptor: int, folder: bytes, most: int) -> Sequence[Written]:
    """Return what stands in a directory; of more than `most` names, no more than show that there are too many."""
    with os.scandir(descriptor) as entries:
        names = sorted(os.fsencode(entry.name) for entry in islice(entries, most + 2))
    marked = _has(descriptor, _OPAQUE, b"x")
    paths = [(name, folder + b"/" + name if folder else name) for name in names if folder or name != b".git"]
    return [
        Written(path, _kind(descriptor, name, marked=marked)) for name, path in paths if len(path) <= LONGEST_PATH_BYTES
    ]


def _step(descriptor: int, name: bytes) -> int:
    """Open a directory from another one, and then close that."""
    child = os.open(name, _OPEN, dir_fd=descriptor)
    os.close(descriptor)
    return child


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _open_beneath(root: int, path: bytes) -> int:
    """Open a directory one name at a time, so that no symlink is followed and no length is too long."""
    descriptor = os.dup(root)
    try:
        for name in path.split(b"/"):
            descriptor = _step(descriptor, name)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _kind(parent: int, name: bytes, *, marked: bool) -> WrittenKind:
    status = os.stat(name, dir_fd=parent, follow_symlinks=False)
    match stat.S_IFMT(status.st_mode):
        case stat.S_IFREG:
            return WrittenKind.REMOVED if marked and _is_marked_removed(parent, name, status) else WrittenKind.FILE
        case stat.S_IFLNK:
            return WrittenKind.SYMLINK
        case stat.S_IFDIR:
            return _directory_kind(parent, name)
        case stat.S_IFCHR if status.st_rdev == 0:
            return WrittenKind.REMOVED
        case _:
            return WrittenKind.OTHER


def _directory_kind(parent: int, name: bytes) -> WrittenKind:
    descriptor = os.open(name, _OPEN, dir_fd=parent)
    try:
        return WrittenKind.OPAQUE if _has(descriptor, _OPAQUE, b"y") else WrittenKind.DIRECTORY
    finally:
        os.close(descriptor)


def _is_marked_removed(parent: int, name: bytes, status: os.stat_result) -> bool:
    """Whether it is a whiteout in the form of an attribute, which counts only in a directory marked with `x`."""
    if status.st_size:
        return False
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        return _has(descriptor, _WHITEOUT, None)
    finally:
        os.close(descriptor)


def _has(descriptor: int, name: str, value: bytes | None) -> bool:
    """Whether the kernel's attribute is there, with that value; a program of the sandbox can set none of `trusted`."""
    try:
        found = os.getxattr(descriptor, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return False
        raise
    return value is None or found == value
