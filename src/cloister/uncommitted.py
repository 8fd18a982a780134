"""Counts what a work tree of the user's holds beside its last commit, without obeying its git configuration."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import RepositoryError
from cloister.git import run_git

_SECONDS = 10.0
_LONGEST_EXCLUDE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    index: str
    objects: str
    exclude: Path
    head: str


async def uncommitted_note(path: Path) -> str | None:
    """Say how many uncommitted files the work tree at `path` has; None when it has none, or cannot tell.

    `git status` of a repository runs its fsmonitor and its clean filters, and here as our user rather than the
    tree's owner. So it is asked of a passing git directory of ours, which borrows the tree's index and objects:
    no setting of the repository takes effect (measured with git 2.39). Submodules are not looked into.
    """
    if not (path / ".git").exists():
        return None
    try:
        count = await _count(path)
    except RepositoryError:
        return None  # a note is no reason to refuse a task
    if count == 0:
        return None
    return f"{count} uncommitted file{'s are' if count > 1 else ' is'} not part of the task"


async def _count(path: Path) -> int:
    places = await _find_places(path)
    with tempfile.TemporaryDirectory(prefix="cloister-status-") as name:
        git_dir = Path(name)
        _fill(git_dir, places)
        output = await run_git(
            ["status", "--porcelain", "-z", "--no-renames", "--untracked-files=normal", "--ignore-submodules=all"],
            git_dir=git_dir,
            variables={"GIT_WORK_TREE": str(path), "GIT_INDEX_FILE": places.index},
            timeout_seconds=_SECONDS,
        )
    return output.stdout.count(b"\0")


async def _find_places(path: Path) -> _Places:
    output = await run_git(
        [
            *("rev-parse", "--path-format=absolute", "--git-path", "index", "--git-path", "objects"),
            *("--git-path", "info/exclude", "--verify", "HEAD"),
        ],
        git_dir=path / ".git",
        timeout_seconds=_SECONDS,
    )
    index, objects, exclude, head = output.stdout.decode(errors="surrogateescape").splitlines()
    return _Places(index=index, objects=objects, exclude=Path(exclude), head=head)


def _fill(git_dir: Path, places: _Places) -> None:
    for name in ("refs", "objects/info", "info"):
        (git_dir / name).mkdir(parents=True)
    (git_dir / "HEAD").write_text(f"{places.head}\n")
    version, extension = (1, "[extensions]\n\tobjectformat = sha256\n") if len(places.head) == 64 else (0, "")
    (git_dir / "config").write_text(f"[core]\n\trepositoryformatversion = {version}\n\tbare = false\n{extension}")
    (git_dir / "objects/info/alternates").write_bytes(places.objects.encode(errors="surrogateescape") + b"\n")
    if places.exclude.is_file() and places.exclude.stat().st_size <= _LONGEST_EXCLUDE_BYTES:
        (git_dir / "info/exclude").write_bytes(places.exclude.read_bytes())
