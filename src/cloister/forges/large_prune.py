"""Removes large objects (Git LFS) of a mirror: those that nobody used for long, the oldest of too many, and drafts.

A task that needs one again fetches it again. What was used within the hour stays: a task may be about to lay it out.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

KEPT_SECONDS = 30 * 24 * 3600.0
"""Since an object was used last."""
DRAFT_SECONDS = 2 * 3600.0
"""Since something of an object came last that is not whole: whoever fetched it is gone."""
IN_USE_SECONDS = 3600.0
SHARE = 4
"""How many times the bytes of one commit's objects a mirror keeps: anybody may name objects in a pull request."""


def prune_objects(mirror: Path, *, most_bytes: int) -> int:
    """Remove what has to go, and return how many files that were. Others may use and fetch objects meanwhile."""
    now = time.time()
    drafts = [path for path, at, _ in _files(mirror / "lfs", "incoming-*") if now - at > DRAFT_SECONDS]
    objects = sorted(_files(mirror / "lfs/objects", "*/*/*"), key=lambda it: it[1])
    old = [path for path, at, _ in objects if now - at > KEPT_SECONDS]
    taken = sum(size for _, _, size in objects[len(old) :])
    for path, at, size in objects[len(old) :]:
        if taken <= most_bytes or now - at < IN_USE_SECONDS:
            break
        old.append(path)
        taken -= size
    for path in (*drafts, *old):
        path.unlink(missing_ok=True)
    return len(drafts) + len(old)


def _files(folder: Path, pattern: str) -> Iterator[tuple[Path, float, int]]:
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            status = path.stat()
            yield path, status.st_mtime, status.st_size
