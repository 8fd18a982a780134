"""The user's own work tree: where it is, and how a change is put into it."""

import os
import pwd
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from cloister.errors import ConflictError, NotFoundError, UsageError
from cloister.model.ssh_address import is_short_form
from cloister.repository_address import parse_repository

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//|:)")
_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false")


def find_work_tree(start: Path) -> Path | None:
    """Return the work tree that `start` is in."""
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), None)


def repository_address(given: str | None) -> str:
    """Return the address that `--repo` means: a URL as it is, a path as that of the work tree it is in.

    What git would read as `host:path` is that, unless there is such a file (as for `git clone`).

    Raises UsageError when nothing is given and the current directory is in no repository.
    """
    if given is not None and _URL.match(given):
        return given
    if given is not None and is_short_form(given) and not Path(given).exists():
        return given
    start = Path(given or ".").expanduser().resolve()
    if not start.exists():  # before its parents are asked, one of which may be another repository
        raise NotFoundError(f"there is no {start}")
    work_tree = find_work_tree(start)
    if given is None and work_tree is None:
        raise UsageError(f"{start} is in no git repository", hint="name one: --repo PATH|URL")
    return str(work_tree or start)


def vault_name(given: str) -> str:
    """Return the environment that a command's ENV means: its name, or the address of the repository that a path is in.

    A path begins with a dot, a slash or a tilde.
    """
    if given.startswith((".", "/", "~")) or _URL.match(given):
        return parse_repository(repository_address(given)).address
    return given


def apply_diff(work_tree: Path, diff: bytes, *, three_way: bool) -> str:
    """Put a diff into the work tree; return what git said about it.

    Without `three_way` it is applied whole or not at all. With it, git may leave conflict markers; both
    that and a diff that does not fit are a ConflictError.
    """
    options = ["--3way"] if three_way else []
    if three_way:
        # A merge goes by the index, which a copied work tree does not match until it is read again.
        _git(work_tree, "update-index", "-q", "--refresh")
    done = _git(work_tree, "apply", "--whitespace=nowarn", *options, "-", stdin=diff)
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode == 0:
        return said
    if three_way:
        mine = "does not match index" in said
        hint = "commit or stash your own changes to these files first" if mine else "see: git status"
        raise ConflictError(f"the change does not fit without conflicts:\n{said}", hint=hint)
    raise ConflictError(
        f"the change does not fit into {work_tree}, which was left as it is:\n{said}",
        hint="let git merge it, which may leave conflict markers: --3way",
    )


def _git(work_tree: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # A command run from a git hook would otherwise work on that hook's repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    owner = _other_owner(work_tree)
    if owner is not None:
        environment["HOME"] = owner.home
    try:
        return subprocess.run(
            [*_GIT, "-C", str(work_tree), *arguments],
            input=stdin,
            capture_output=True,
            env={**environment, "LC_ALL": "C.UTF-8"},
            check=False,
            user=owner and owner.uid,
            group=owner and owner.gid,
            extra_groups=() if owner else None,
        )
    except FileNotFoundError as error:
        raise NotFoundError("git is not installed", hint="see: cloister doctor") from error


class _Owner(NamedTuple):
    uid: int
    gid: int
    home: str


def _other_owner(work_tree: Path) -> _Owner | None:
    """Whom root should be for git: whoever the work tree belongs to, if they can enter it.

    As root, git would leave files that its owner cannot write, and refuses a repository of somebody else
    (`safe.directory`) for everything that needs one.
    """
    status = work_tree.stat()
    if os.geteuid() != 0 or status.st_uid == 0:
        return None
    owner = _Owner(status.st_uid, status.st_gid, _home(status.st_uid))
    entered = subprocess.run(
        ["test", "-x", str(work_tree)], check=False, user=owner.uid, group=owner.gid, extra_groups=()
    )
    return owner if entered.returncode == 0 else None


def _home(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
