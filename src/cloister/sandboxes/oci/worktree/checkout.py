"""Puts a work tree into exactly the state of a commit; a program for a container of the pristine image.

Standard input: a JSON object with `directory`, `commit`, `branch` (HEAD for none), `origin` (empty for that of the
last checkout), `put` (false: it is in that state already), and `patch` (true: apply /cloister/exchange/patch
afterwards). Standard output: `refused`, null or the
reason why the patch cannot be applied; `missing`, whether the mirror lacks the commit.

No other program runs on this disk meanwhile, so what was looked at stays what it was.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloister.sandboxes.oci.worktree import large, submodules, trusted
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # `python -I` leaves it out
    import large
    import submodules
    import trusted

_GITLINK = b"160000"


def main() -> None:
    """Read the request, do it, and answer."""
    try:
        request = json.load(sys.stdin)
        places = trusted.Places(trusted.root_of(sys.argv), request["directory"])
        commit = trusted.check_commit(request["commit"])
        branch, origin = trusted.check_branch(request["branch"]), request["origin"]
        missing = request["put"] and not check_out(places, commit, branch=branch, origin=origin)
        refused = apply_patch(places, commit) if request.get("patch") and not missing else None
    except (OSError, ValueError, KeyError, subprocess.SubprocessError, trusted.GitError) as error:
        trusted.fail(error)
    json.dump({"refused": refused, "missing": missing}, sys.stdout)


def check_out(places: trusted.Places, commit: str, *, branch: str, origin: str) -> bool:
    """Make every tracked path what `commit` says, leave untracked ones, and replace `.git`.

    False when there is no such commit.
    """
    _make_directory(places.tree)
    sha256 = len(commit) == 64
    trusted.make_git_dir(places.git, places, sha256=sha256)
    _remove(os.path.join(places.git, b"index.lock"))
    variables = trusted.environment(places.git, places.tree)
    try:
        folders, gitlinks = _read_folders(commit, variables)
    except trusted.GitError as error:
        if "not a tree object" in str(error):
            return False
        raise
    for folder in folders:
        _unmask(os.path.join(places.tree, folder))
    submodules.forget_others(places, commit)
    # Not `reset --hard`: that would want, and move, a branch.
    trusted.git(["read-tree", "--reset", "-u", "--no-recurse-submodules", commit], variables)
    large.lay(places, commit)
    for gitlink in gitlinks:
        _forget_old_submodule(os.path.join(places.tree, gitlink))
    submodules.lay(places, commit)
    _write_git(places, commit, branch=branch, origin=_keep_origin(places, origin), sha256=sha256)
    return True


def apply_patch(places: trusted.Places, commit: str) -> str | None:
    """Apply the patch to the work tree, wholly or not at all; return why it cannot be.

    Git itself refuses paths outside, in `.git`, and beyond a symbolic link (CVE-2015-9938, CVE-2023-23946).
    """
    patch = os.fsdecode(os.path.join(places.exchange, b"patch"))
    variables = trusted.environment(places.git, places.tree)
    try:
        large.take_back(places, _paths_in(patch, variables), variables, commit)
        trusted.git(["apply", "--whitespace=nowarn", "--", patch], variables)
    except trusted.GitError as error:
        return f"the starting patch does not apply: {error}"
    large.lay(places, commit)
    return None


def _paths_in(patch: str, variables: Mapping[bytes, bytes]) -> list[bytes]:
    """Return every path that a patch names, as before and as after it: of a renamed file, `--numstat` has both."""
    found = trusted.git(["apply", "--numstat", "-z", "--", patch], variables).split(b"\0")
    return [path for record in found for path in record.rsplit(b"\t", 1)[-1:] if path]


def _read_folders(commit: str, variables: Mapping[bytes, bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return all tracked directories, parents first, and the submodules among them."""
    records = trusted.git(["ls-tree", "-r", "-d", "-z", "--full-tree", commit], variables).split(b"\0")[:-1]
    folders = [record.split(b"\t", 1)[1] for record in records]
    return folders, [name for name, record in zip(folders, records) if record.startswith(_GITLINK)]  # noqa: B905


def _unmask(path: bytes) -> None:
    """Remove what stands where a tracked directory belongs.

    Git compares a file by what `lstat` says of its path, which a symlinked parent directory satisfies with the very
    same file: `mv lib elsewhere; ln -s elsewhere lib` would stay.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        pass


def _forget_old_submodule(path: bytes) -> None:
    """Remove a gitfile that points into the `.git` we replace; git could not work around it dangling."""
    pointer = os.path.join(path, b".git")
    try:
        if not stat.S_ISDIR(os.lstat(pointer).st_mode):
            os.unlink(pointer)
    except (FileNotFoundError, NotADirectoryError):
        pass


def _write_git(places: trusted.Places, commit: str, *, branch: str, origin: str, sha256: bool) -> None:
    git_dir = os.path.join(places.tree, b".git")
    _remove(git_dir)
    for name in (
        b"objects/info",
        b"objects/pack",
        b"refs/heads",
        b"refs/tags",
        b"refs/remotes/origin",
        b"info",
        b"hooks",
    ):
        os.makedirs(os.path.join(git_dir, name))
    refs = trusted.read_packed_refs(places)
    default = _default_branch(places, refs)
    trusted.write(os.path.join(git_dir, b"packed-refs"), refs)
    trusted.write(os.path.join(git_dir, b"config"), _config(origin, default, sha256=sha256).encode())
    trusted.write(os.path.join(git_dir, b"objects/info/alternates"), os.path.join(places.mirror, b"objects") + b"\n")
    trusted.copy_if_there(os.path.join(places.mirror, b"shallow"), os.path.join(git_dir, b"shallow"))
    trusted.copy_if_there(os.path.join(places.git, b"index"), os.path.join(git_dir, b"index"))
    if default is not None:
        trusted.write(
            os.path.join(git_dir, b"refs/remotes/origin/HEAD"), f"ref: refs/remotes/origin/{default}\n".encode()
        )
    _write_head(git_dir, commit, branch)


def _write_head(git_dir: bytes, commit: str, branch: str) -> None:
    if branch == "HEAD":
        trusted.write(os.path.join(git_dir, b"HEAD"), commit.encode() + b"\n")
        return
    tip = os.path.join(git_dir, b"refs/heads", branch.encode())
    os.makedirs(os.path.dirname(tip), exist_ok=True)
    trusted.write(tip, commit.encode() + b"\n")
    trusted.write(os.path.join(git_dir, b"HEAD"), f"ref: refs/heads/{branch}\n".encode())


def _config(origin: str, default: str | None, *, sha256: bool) -> str:
    lines = [
        "[core]",
        f"\trepositoryformatversion = {1 if sha256 else 0}",
        "\tfilemode = true",
        "\tbare = false",
        "\tlogallrefupdates = true",
    ]
    if sha256:
        lines += ["[extensions]", "\tobjectformat = sha256"]
    if origin:
        lines += ['[remote "origin"]', f"\turl = {_quote(origin)}", "\tfetch = +refs/heads/*:refs/remotes/origin/*"]
    if origin and default is not None:
        lines += [f"[branch {_quote(default)}]", "\tremote = origin", f"\tmerge = {_quote('refs/heads/' + default)}"]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """Quote a value or a subsection's name as git-config(1) says."""
    if "\n" in text or "\0" in text:
        raise ValueError(f"{text!r} cannot stand in a configuration")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _default_branch(places: trusted.Places, refs: bytes) -> str | None:
    with open(os.path.join(places.mirror, b"HEAD"), "rb") as file:
        head = file.read().strip()
    name = head[len(b"ref: refs/heads/") :]
    known = head.startswith(b"ref: refs/heads/") and b" refs/remotes/origin/" + name + b"\n" in refs
    return trusted.check_branch(os.fsdecode(name)) if known else None


def _keep_origin(places: trusted.Places, origin: str) -> str:
    """Remember the origin, and recall it where the caller has none to give."""
    memory = os.path.join(places.git, b"origin")
    if origin:
        trusted.write(memory, origin.encode())
        return origin
    try:
        with open(memory, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _make_directory(path: bytes) -> None:
    if os.path.lexists(path) and not stat.S_ISDIR(os.lstat(path).st_mode):
        os.unlink(path)
    os.makedirs(path, exist_ok=True)


def _remove(path: bytes) -> None:
    """Remove whatever it is. `rm` follows no symlink and copes with any depth, which `shutil.rmtree` does not."""
    if os.path.lexists(path):
        subprocess.run(["rm", "-rf", "--", path], check=True)


if __name__ == "__main__":
    main()
