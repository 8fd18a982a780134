"""Reads what a sandbox wrote, beneath one directory: no link is followed, and nothing but regular files is read."""

import os
import stat
from pathlib import Path


def read_beneath(root: Path, path: str, *, limit_bytes: int) -> bytes | None:
    """Return the file's first bytes; None when there is no regular file without a link on the way."""
    parts = path.strip("/").split("/")
    folder = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            folder, former = os.open(part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder), folder
            os.close(former)
        file = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    finally:
        os.close(folder)
    try:
        return _read(file, limit_bytes) if stat.S_ISREG(os.fstat(file).st_mode) else None
    finally:
        os.close(file)


def _read(file: int, limit_bytes: int) -> bytes:
    with open(file, "rb", closefd=False) as content:
        return content.read(limit_bytes)
