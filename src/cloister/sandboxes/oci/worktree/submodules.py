"""Submodules, laid into a work tree at the commits that it names; each is a folder of files, and no repository.

No git runs inside of one: a git directory of ours for each is kept beside that of the work tree. Their trees, and the
list of those of a commit, are in the mirror (see `cloister.forges.submodules`), because no network is here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloister.sandboxes.oci.worktree import trusted
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import trusted

LISTS = b"cloister-submodules-1"
"""Folder in the mirror: of each commit, `TREE PATH` and NUL for every submodule, those around others first."""


def read_list(places: trusted.Places, commit: str) -> list[tuple[str, bytes]]:
    """Return tree and path of each submodule of a commit that the mirror has."""
    try:
        with open(os.path.join(places.mirror, LISTS, commit.encode()), "rb") as file:
            records = file.read().split(b"\0")[:-1]
    except FileNotFoundError:
        return []
    return [(tree.decode(), path) for tree, _, path in (record.partition(b" ") for record in records)]


def forget_others(places: trusted.Places, commit: str) -> None:
    """Take away what was laid for another commit, where this one has no submodule."""
    wanted = {path for _, path in read_list(places, commit)}
    for path in _laid(places):
        folder = os.path.join(places.tree, path)
        if path not in wanted and _is_folder(places.tree, path):
            subprocess.run(["rm", "-rf", "--", folder], check=True)


def lay(places: trusted.Places, commit: str) -> None:
    """Make every tracked path of every submodule what its commit says, in a tree that git has just checked out."""
    found = read_list(places, commit)
    for tree, path in found:
        folder = os.path.join(places.tree, path)
        if not _is_folder(places.tree, path):
            raise trusted.GitError(f"{path!r} is to be a submodule's folder, and is none")
        git_dir = os.path.join(places.git, b"submodules", hashlib.sha256(path).hexdigest().encode())
        trusted.make_git_dir(git_dir, places, sha256=len(tree) == 64)
        variables = trusted.environment(git_dir, folder)
        for name in _folders(tree, variables):
            _unmask(os.path.join(folder, name))
        trusted.git(["read-tree", "--reset", "-u", "--no-recurse-submodules", tree], variables)
    if found or _laid(places):
        trusted.write(os.path.join(places.git, b"submodules-laid"), b"".join(path + b"\0" for _, path in found))


def _laid(places: trusted.Places) -> list[bytes]:
    try:
        with open(os.path.join(places.git, b"submodules-laid"), "rb") as file:
            return file.read().split(b"\0")[:-1]
    except FileNotFoundError:
        return []


def _is_folder(tree: bytes, path: bytes) -> bool:
    """Whether each step of the way there is a directory, and no symlink to one."""
    names = path.split(b"/")
    steps = [os.path.join(tree, *names[: length + 1]) for length in range(len(names))]
    return all(os.path.isdir(step) and not os.path.islink(step) for step in steps)


def _folders(tree: str, variables: Mapping[bytes, bytes]) -> list[bytes]:
    records = trusted.git(["ls-tree", "-r", "-d", "-z", "--full-tree", tree], variables).split(b"\0")[:-1]
    return [record.split(b"\t", 1)[1] for record in records]


def _unmask(path: bytes) -> None:
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
        os.unlink(path)
