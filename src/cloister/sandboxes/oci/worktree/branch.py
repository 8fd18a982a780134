"""Puts HEAD of a work tree that already is at the wanted commit on a branch, without a container."""

import os
from pathlib import Path

from cloister.model.sandbox import WORKSPACE, Commit


def write_branch(upper: Path, directory: str, branch: str, commit: Commit, uid_base: int) -> None:
    """Write HEAD and the branch into `upper`, a fresh and empty upper layer that nothing else has written to.

    Only because it is empty is it safe to write by path. `uid_base` is the host's uid and gid of container root.
    """
    git_dir = Path(WORKSPACE.lstrip("/"), directory, ".git")
    tip = git_dir / "refs/heads" / branch
    if ".." in tip.parts or not branch or branch.startswith("/"):
        raise ValueError(f"{branch!r} is not a branch")
    _write(upper, tip, f"{commit}\n", uid_base)
    _write(upper, git_dir / "HEAD", f"ref: refs/heads/{branch}\n", uid_base)


def _write(upper: Path, path: Path, text: str, owner: int) -> None:
    for parent in reversed(path.parents[:-1]):
        if not (upper / parent).is_dir():
            (upper / parent).mkdir()
            _give(upper / parent, 0o755, owner)
    with (upper / path).open("x") as file:
        file.write(text)
    _give(upper / path, 0o644, owner)


def _give(path: Path, mode: int, owner: int) -> None:
    os.chown(path, owner, owner, follow_symlinks=False)
    path.chmod(mode)
