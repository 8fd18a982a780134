"""Git, run over a work tree that nobody trusts: every setting it obeys is written here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GIT_SECONDS = 600.0
_LAST_CHARACTERS = 2000
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?=/|$)|^[./-]|[./]$")


class RefusedError(Exception):
    """What is in the work tree, or the patch, cannot be used; the message is for the user."""


class GitError(Exception):
    """A git command of ours failed."""


class Places:
    """Where things are in the container; `root` is `/`, and something else only in tests."""

    def __init__(self, root: str, directory: str) -> None:
        if not _NAME.fullmatch(directory) or directory in (".", "..", ".git"):
            raise ValueError(f"{directory!r} is not the name of a work tree")
        self.logical_tree = os.fsencode(f"/workspace/{directory}")
        self.tree = os.fsencode(os.path.join(root, "workspace", directory))
        self.mirror = os.fsencode(os.path.join(root, "cloister/mirror.git"))
        self.git = os.fsencode(os.path.join(root, "cloister/git"))
        self.exchange = os.fsencode(os.path.join(root, "cloister/exchange"))


def root_of(argv: Sequence[str]) -> str:
    """Return the value of `--root`, or `/`."""
    return argv[argv.index("--root") + 1] if "--root" in argv else "/"


def check_commit(commit: str) -> str:
    """Return `commit`. ValueError when it is not a full object id."""
    if not _COMMIT.fullmatch(commit):
        raise ValueError(f"{commit!r} is not a commit")
    return commit


def check_branch(branch: str) -> str:
    """Return `branch`. ValueError when git-check-ref-format(1) would refuse it."""
    if not branch or _BAD_BRANCH.search(branch):
        raise ValueError(f"{branch!r} is not a branch")
    return branch


def make_git_dir(path: bytes, places: Places, *, sha256: bool) -> None:
    """Make, or renew, a git directory that defines no filter, hook, driver or program of any kind."""
    for name in (b"objects/info", b"objects/pack", b"refs"):
        os.makedirs(os.path.join(path, name), exist_ok=True)
    version, extension = (b"1", b"[extensions]\n\tobjectformat = sha256\n") if sha256 else (b"0", b"")
    write(
        os.path.join(path, b"config"),
        b"[core]\n\trepositoryformatversion = " + version + b"\n\tbare = false\n\tfilemode = true\n"
        b"\tsymlinks = true\n\thooksPath = /dev/null\n\tattributesFile = /dev/null\n\texcludesFile = /dev/null\n"
        b"\tfsmonitor = false\n\tuntrackedCache = false\n\tpreloadIndex = true\n\tlogAllRefUpdates = false\n"
        b"[gc]\n\tauto = 0\n[submodule]\n\trecurse = false\n[fastimport]\n\tunpackLimit = 0\n"
        b"[pack]\n\tthreads = 1\n[index]\n\tthreads = true\n" + extension,
    )
    write(os.path.join(path, b"HEAD"), b"ref: refs/heads/none\n")
    write(os.path.join(path, b"objects/info/alternates"), os.path.join(places.mirror, b"objects") + b"\n")
    copy_if_there(os.path.join(places.mirror, b"shallow"), os.path.join(path, b"shallow"))


def environment(git_dir: bytes, tree: bytes, **more: bytes) -> Mapping[bytes, bytes]:
    """Return the whole environment of a git that obeys `git_dir` alone."""
    return {
        b"PATH": b"/usr/bin:/bin",
        b"HOME": b"/nonexistent",
        b"LC_ALL": b"C.UTF-8",
        b"GIT_DIR": git_dir,
        b"GIT_WORK_TREE": tree,
        b"GIT_CONFIG_NOSYSTEM": b"1",
        b"GIT_CONFIG_GLOBAL": b"/dev/null",
        b"GIT_ATTR_NOSYSTEM": b"1",
        b"GIT_TERMINAL_PROMPT": b"0",
        b"GIT_NO_LAZY_FETCH": b"1",
        b"GIT_NO_REPLACE_OBJECTS": b"1",
        b"GIT_ALLOW_PROTOCOL": b"none",
        **{name.encode(): value for name, value in more.items()},
    }


def git(
    arguments: Sequence[str],
    variables: Mapping[bytes, bytes],
    *,
    stdin: bytes = b"",
    stdout: int | None = None,
    accept: Sequence[int] = (0,),
) -> bytes:
    """Run git in the work tree and return what it printed. GitError with its last words."""
    done = subprocess.run(
        ["git", *arguments],
        env=variables,
        cwd=variables[b"GIT_WORK_TREE"],
        input=stdin,
        stdout=subprocess.PIPE if stdout is None else stdout,
        stderr=subprocess.PIPE,
        timeout=GIT_SECONDS,
        check=False,
    )
    if done.returncode not in accept:
        raise GitError(f"git {arguments[0]}: {last_words(done.stderr)}")
    return done.stdout or b""


def last_words(stderr: bytes) -> str:
    """Return the end of what git said."""
    return stderr.decode(errors="backslashreplace").strip()[-_LAST_CHARACTERS:]


def write(path: bytes, content: bytes) -> None:
    """Write a file of ours, at once or not at all."""
    draft = path + b".draft"
    with open(draft, "wb") as file:
        file.write(content)
    os.rename(draft, path)


def copy_if_there(source: bytes, target: bytes) -> None:
    """Copy one of our own files, when it exists."""
    try:
        with open(source, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return
    write(target, content)


def read_packed_refs(places: Places) -> bytes:
    """Return the mirror's branches as branches of `origin`, with its tags, in the form of a packed-refs file."""
    try:
        with open(os.path.join(places.mirror, b"packed-refs"), "rb") as file:
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return b""
    kept, keeps = [], True
    for line in lines:
        if not line.startswith((b"#", b"^")):
            keeps = b" refs/heads/" in line or b" refs/tags/" in line
        if keeps:
            kept.append(line.replace(b" refs/heads/", b" refs/remotes/origin/", 1))
    return b"".join(kept)


def fail(error: BaseException) -> None:
    """Say what went wrong, and end with a status that is ours."""
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
    sys.exit(1)
