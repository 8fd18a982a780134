"""Puts a file of ours where a user keeps theirs: nothing is overwritten unasked, and no link is followed."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from cloister.errors import ConflictError, UsageError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_in_folder(root: Path, folder: str, name: str, text: str, *, force: bool) -> Path:
    """Write `root/folder/name`, making the folder when there is none. Whoever owns `root` will own both.

    `root` belongs to a repository, whose links may lead anywhere: `folder` and the file must be none. ConflictError
    when they are, and when there is such a file and it shall not be overwritten; nothing is changed then.
    """
    place = root / folder
    with _opened(root, _FOLDER) as outer:
        owner = os.fstat(outer)
        try:
            os.mkdir(folder, 0o755, dir_fd=outer)
        except FileExistsError:
            made = False
        else:
            made = True
        with _opened(place, _FOLDER | os.O_NOFOLLOW, name=folder, within=outer) as inner:
            if made:
                _give(inner, owner)
            _write(inner, place, name, text, force=force, owner=owner)
    return place / name


def write_file(path: Path, text: str, *, force: bool) -> None:
    """Write a file that the user named. ConflictError when it is there and shall not be overwritten, or is a link."""
    with _opened(path.parent, _FOLDER) as folder:
        _write(folder, path.parent, path.name, text, force=force, owner=None)


def _write(folder: int, place: Path, name: str, text: str, *, force: bool, owner: os.stat_result | None) -> None:
    path = place / name
    try:
        there = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        there = None
    if there is not None and not stat.S_ISREG(there.st_mode):
        raise ConflictError(f"{path} is no regular file; nothing was written")
    if there is not None and not force:
        raise ConflictError(
            f"{path} is there already; nothing was written",
            hint="to overwrite it: --force; to see what would be written: --output -",
        )
    try:
        _replace(folder, name, text, force=force, owner=owner)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _replace(folder: int, name: str, text: str, *, force: bool, owner: os.stat_result | None) -> None:
    draft = f".{name}.{token_hex(4)}"
    descriptor = os.open(draft, _NEW, 0o644, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            if owner is not None:
                _give(descriptor, owner)
        if force:
            os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        else:
            os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder)  # fails where somebody else was quicker
    finally:
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=folder)


def _give(descriptor: int, owner: os.stat_result) -> None:
    """As root, leave nothing in a work tree that its owner cannot write."""
    if os.geteuid() == 0 and owner.st_uid != 0:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextmanager
def _opened(path: Path, flags: int, *, name: str | None = None, within: int | None = None) -> Iterator[int]:
    try:
        descriptor = os.open(name or path, flags, dir_fd=within)
    except OSError as error:
        if path.is_symlink():
            raise ConflictError(f"{path} is a link; nothing was written") from error
        raise UsageError(f"cannot write below {path}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
