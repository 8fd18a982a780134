"""Reads what a sandbox wrote, beneath one directory: no link is followed, and nothing but regular files is read."""

import contextlib
import itertools
import os
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import anyio

from cloister.model.artifact import FoundFile

_READ_BYTES = 256 * 1024
_DEEPEST = 16
"""Folders within folders that are looked into."""
_PAUSE_SECONDS = 0.2
"""Between two looks at a file that grows."""


def read_beneath(root: Path, path: str, *, limit_bytes: int, offset: int = 0) -> bytes | None:
    """Return the file's bytes from `offset`; None when there is no regular file without a link on the way."""
    *parents, name = path.strip("/").split("/")
    try:
        with opened_beneath(root, parents) as folder:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    try:
        return _read(file, offset, limit_bytes) if stat.S_ISREG(os.fstat(file).st_mode) else None
    finally:
        os.close(file)


def list_beneath(root: Path, folder: str, *, most: int) -> list[FoundFile]:
    """Return what lies in that folder and in its folders, sorted; see `protocols.Sandbox.list_files`."""
    found: list[FoundFile] = []
    with contextlib.suppress(OSError), opened_beneath(root, folder.strip("/").split("/")) as opened:
        _walk(opened, "", found, most, _DEEPEST)
    return sorted(found, key=lambda file: file.path)


def _walk(folder: int, prefix: str, found: list[FoundFile], most: int, deepest: int) -> None:
    """Look at the entries of an open folder, and then into the folders among them."""
    listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        with os.scandir(listed) as entries:
            names = sorted(entry.name for entry in itertools.islice(entries, most))
        for name in names:
            status = os.stat(name, dir_fd=listed, follow_symlinks=False)
            if len(found) >= most:
                return
            if stat.S_ISDIR(status.st_mode):
                if deepest > 0:
                    with contextlib.suppress(OSError), opened_beneath(listed, [name]) as inner:
                        _walk(inner, f"{prefix}{name}/", found, most, deepest - 1)
            elif status.st_rdev != 0 or not stat.S_ISCHR(status.st_mode):  # a device 0/0 says that a file was removed
                is_regular = stat.S_ISREG(status.st_mode)
                found.append(FoundFile(path=f"{prefix}{name}", size_bytes=status.st_size, is_regular=is_regular))
    finally:
        os.close(listed)


@contextlib.contextmanager
def opened_beneath(root: Path | int, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder below `root`, a path or an open folder. OSError when it is not there, and for a link on the way."""
    folder = os.dup(root) if isinstance(root, int) else os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            inner = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            folder, former = inner, folder
            os.close(former)
        yield folder
    finally:
        os.close(folder)


async def tail_beneath(root: Path, path: str, over: anyio.Event, *, limit_bytes: int) -> AsyncIterator[bytes]:
    """Yield what the file grows by, until `over` is set and the rest is read, and never more than the limit."""
    offset = 0
    while offset < limit_bytes:
        last = over.is_set()  # what is read after it is all there is
        data = b""
        with contextlib.suppress(OSError):  # the sandbox is being destroyed
            data = read_beneath(root, path, limit_bytes=min(_READ_BYTES, limit_bytes - offset), offset=offset) or b""
        if data:
            offset += len(data)
            yield data
        elif last:
            return
        else:
            with anyio.move_on_after(_PAUSE_SECONDS):
                await over.wait()


def _read(file: int, offset: int, limit_bytes: int) -> bytes:
    with open(file, "rb", closefd=False) as content:
        content.seek(offset)
        return content.read(limit_bytes)
