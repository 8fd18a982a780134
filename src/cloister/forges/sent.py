"""What is known of repositories that came as bundles: each has a note beside its mirror, whose time is its last use."""

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from cloister.errors import UsageError
from cloister.forges.mirror import Mirror
from cloister.model.bundle import KEPT_UNUSED, sender_of

_NOTE = ".sent"


def note_use(mirror: Mirror, address: str) -> None:
    """Write down that it was sent, or used, now."""
    mirror.path.with_suffix(_NOTE).write_text(address)


def find_unused(mirrors: Path, before: datetime) -> Sequence[str]:
    """Return the addresses of those that were used last before that time."""
    return [note.read_text() for note in mirrors.glob(f"*{_NOTE}") if _used_at(note) < before]


async def forget(mirror: Mirror, before: datetime) -> bool:
    """Remove the mirror, unless it was used since; return whether it is gone."""
    async with mirror.lock():
        note = mirror.path.with_suffix(_NOTE)
        if not note.exists() or _used_at(note) >= before:
            return False
        draft = mirror.path.with_suffix(".gone")
        shutil.rmtree(draft, ignore_errors=True)
        if mirror.path.exists():
            mirror.path.rename(draft)
        note.unlink()
        shutil.rmtree(draft, ignore_errors=True)
    return True


def find_room(mirrors: Path, address: str, most_bytes: int) -> int:
    """Return how many bytes its sender may send, beside all that is kept of theirs."""
    theirs = [note for note in mirrors.glob(f"*{_NOTE}") if sender_of(note.read_text()) == sender_of(address)]
    return most_bytes - sum(_size_of(note.with_suffix(".git")) for note in theirs)


def no_room(most_bytes: int) -> UsageError:
    """Return what is said to who has sent too much."""
    return UsageError(
        f"the repositories that you have sent would have more than {most_bytes / 1024**3:g} GiB together",
        hint=f"let the server fetch some: give their addresses; what is not used for {KEPT_UNUSED.days} days goes",
    )


def _used_at(note: Path) -> datetime:
    return datetime.fromtimestamp(note.stat().st_mtime, UTC)


def _size_of(place: Path) -> int:
    found = 0
    for directory, _, files in os.walk(place):
        for name in files:
            try:
                found += os.lstat(os.path.join(directory, name)).st_size  # noqa: PTH118  # it may have many
            except FileNotFoundError:
                continue
    return found
