"""Files of keys: whole or not there, readable to their owner alone, and never replaced by accident."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cloister.errors import VaultError


def make_once(path: Path, data: bytes) -> None:
    """Make a file, unless there is one; of many callers at once, one makes it. It survives a power cut."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = draft_of(path)
    _write_new(draft, data)
    try:
        # A link, because unlike a rename it never replaces the file of a process that was quicker.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    sync_directory(path.parent)


def read_private(path: Path, what: str, *, limit_bytes: int) -> bytes:
    """Return a file's content, cut above the limit. VaultError when others than its owner may use it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        data = os.read(descriptor, limit_bytes + 1)
    finally:
        os.close(descriptor)
    if mode & 0o077:
        raise VaultError(f"others than its owner may use {what} {path}", hint=f"chmod 600 {path}")
    return data


def draft_of(path: Path) -> Path:
    """Return a new name beside a file, for what will take its place."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


def sync_directory(path: Path) -> None:
    """Let names that were made in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def told(path: Path, what: str) -> Iterator[None]:
    """Let the system's errors be errors of the vault."""
    try:
        yield
    except OSError as error:
        raise VaultError(f"{what} {path} cannot be used: {error.strerror}") from error


def _write_new(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
