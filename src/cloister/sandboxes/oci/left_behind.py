"""What an agent wrote that no change holds: outside of the work tree, or where git does not look."""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from cloister.errors import TaskFailedError
from cloister.model.sandbox import WORKSPACE
from cloister.sandboxes.oci.worktree.written import WrittenKind, list_written

MOST_PATHS = 1000
_BESIDE_THE_POINT = re.compile(
    r"(cloister|dev|proc|sys|run|tmp)(/|$)|root/\.cache/|var/(cache|log|tmp)/|root/\.npm/|root/\.[a-z_]*history$"
    r"|(.*/)?(__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache)(/|$)|.*\.py[co]$",
    re.DOTALL,
)


def list_left_behind(upper: Path, directory: str, changed: frozenset[str]) -> Sequence[str]:
    """Return the paths, as the sandbox sees them, sorted; without caches, logs and what a container has for itself."""
    paths = (*_outside(upper, directory), *_inside(upper, directory, changed))
    return sorted(f"/{path}" for path in paths if not _BESIDE_THE_POINT.match(path))


def _outside(upper: Path, directory: str) -> Iterator[str]:
    tree = f"{WORKSPACE.lstrip('/')}/{directory}"
    return islice(_files(upper, tree), MOST_PATHS)


def _files(upper: Path, without: str) -> Iterator[str]:
    """Yield what is no directory. Nothing runs there, so that no name changes meanwhile; no link is followed."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError), os.scandir(upper / folder) as entries:  # a path that is too long for anybody
            for entry in entries:
                path = f"{folder}/{entry.name}".lstrip("/")
                if path == without or _BESIDE_THE_POINT.match(path):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                else:
                    yield path


def _inside(upper: Path, directory: str, changed: frozenset[str]) -> Iterator[str]:
    with suppress(TaskFailedError):  # there is no work tree any more, which the change has told
        for written in islice(list_written(upper, directory), MOST_PATHS):
            path = written.path.decode(errors="replace")
            if written.kind is not WrittenKind.DIRECTORY and path and path not in changed:
                yield f"{WORKSPACE.lstrip('/')}/{directory}/{path}"
