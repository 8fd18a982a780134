"""Makes a git bundle of a repository on this machine, to be sent to a server on another."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import NotFoundError, UsageError
from cloister.git import run_git
from cloister.model.bundle import LARGEST_BYTES
from cloister.repository_address import parse_repository
from cloister.uncommitted import uncommitted_note

_SECONDS = 30 * 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle of all branches and tags, in a file."""

    path: Path
    name: str
    """What the server shall call it: as a clone's folder."""
    head: str | None
    """The branch that is checked out."""
    note: str | None
    """Says what of the work tree is not in it."""


@asynccontextmanager
async def bundled(repository: Path) -> AsyncIterator[Bundle]:
    """Bundle the repository at that path; the file is gone after the block.

    NotFoundError when nothing is there to bundle; UsageError when a server could not use it.
    """
    git_dir = repository / ".git" if (repository / ".git").exists() else repository
    if not (git_dir.is_file() or (git_dir / "HEAD").exists()):
        raise NotFoundError(f"{repository} is not a git repository")
    shallow = await run_git(["rev-parse", "--is-shallow-repository"], git_dir=git_dir)
    if shallow.stdout.strip() == b"true":
        raise UsageError(f"{repository} is a shallow clone: its history is not whole", hint="git fetch --unshallow")
    head = (await run_git(["symbolic-ref", "--quiet", "--short", "HEAD"], git_dir=git_dir, accept=(0, 1))).stdout
    born = (
        await run_git(["rev-parse", "--quiet", "--verify", "HEAD"], git_dir=git_dir, accept=(0, 1, 128))
    ).status == 0
    refs = (await run_git(["for-each-ref", "--count=1", "refs/heads", "refs/tags"], git_dir=git_dir)).stdout
    if not born and not refs:
        raise NotFoundError(
            f"{repository} has no commit yet", hint='make one first: git add -A && git commit -m "first"'
        )
    with tempfile.TemporaryDirectory(prefix="cloister-bundle-") as directory:
        path = Path(directory) / "bundle"
        chosen = ["--branches", "--tags", *(["HEAD"] if born else [])]
        await run_git(["bundle", "create", "--quiet", str(path), *chosen], git_dir=git_dir, timeout_seconds=_SECONDS)
        if path.stat().st_size > LARGEST_BYTES:
            raise UsageError(
                f"the bundle of {repository} has more than {LARGEST_BYTES // 1024**3} GiB",
                hint="let the server fetch the repository: give its address",
            )
        name = parse_repository(str(repository)).directory
        branch = head.decode().strip() or None if born else None
        yield Bundle(path=path, name=name, head=branch, note=await uncommitted_note(repository))
