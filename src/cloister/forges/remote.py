"""What a repository says of itself: its branches, its tags and its default branch."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cloister.errors import NotFoundError, RepositoryError
from cloister.forges.ssh import ssh_refusal
from cloister.git import NO_REPOSITORY, last_lines, run_git
from cloister.model.sandbox import Commit
from cloister.model.ssh_address import parse_ssh_address

HEADS = "refs/heads/"
TAGS = "refs/tags/"
DETACHED = "HEAD"
"""Stands for the default branch of a repository whose HEAD is on no branch."""

_PEELED = "^{}"
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BAD_IN_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?=/|$)|^[./-]|[./]$")
_NOT_THERE = re.compile(r"not found|does not appear to be a git repository|does not exist", re.IGNORECASE)
_LOCKED = re.compile(r"could not read (Username|Password)|Authentication failed|error: 40[13]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The advertisement of a repository, at one moment."""

    address: str
    head_branch: str | None
    """The branch that HEAD is on; None when it is on none, or on one without a commit."""
    head_commit: Commit | None
    refs: Mapping[str, str]
    """Full name of every branch and tag to the object that it points to."""
    peeled: Mapping[str, str]
    """Full name of every annotated tag to the object behind it."""

    def default(self) -> tuple[str, Commit]:
        """Return the default branch and its commit.

        A detached HEAD (as continuous integration leaves it) stands for itself. Raises NotFoundError when
        there is no commit.
        """
        if self.head_commit is not None:
            return self.head_branch or DETACHED, self.head_commit
        if not self.refs:
            raise NotFoundError(
                f"the repository {self.address} has no commit yet",
                hint='make one first: git add -A && git commit -m "first"',
            )
        raise NotFoundError(
            f"the default branch of {self.address} has no commit yet",
            hint=f"name a branch with --ref: {', '.join(self._short_names()[:5])}",
        )

    def find(self, ref: str) -> str | None:
        """Return the object that a branch or tag points to; a branch wins over a tag of that name."""
        full_names = [ref] if ref.startswith((HEADS, TAGS)) else [HEADS + ref, TAGS + ref]
        for name in full_names:
            if name in self.refs:
                return self.peeled.get(name, self.refs[name])
        return None

    def near(self, ref: str) -> list[str]:
        """Return the names of branches and tags that look like `ref`, the most alike first."""
        return difflib.get_close_matches(ref, self._short_names(), n=5, cutoff=0.5)

    def _short_names(self) -> list[str]:
        return sorted({name.removeprefix(HEADS).removeprefix(TAGS) for name in self.refs})


async def read_remote(address: str, transport: Mapping[str, str] = MappingProxyType({})) -> Remote:
    """Ask the repository at `address`; `transport` are the variables that git needs to get there.

    Raises NotFoundError when there is none, RepositoryError when it is out of reach.
    """
    output = await run_git(
        ["ls-remote", "--symref", "--quiet", "--", address],
        git_dir=NO_REPOSITORY,
        variables={"GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": "20", **transport},
        accept=range(256),
    )
    if output.status == 0:
        return parse_advertisement(address, output.stdout.decode(errors="replace"))
    raise _refusal(address, output.stderr)


def parse_advertisement(address: str, text: str) -> Remote:
    """Read what `git ls-remote --symref` prints; lines that break git's rules for names are left out.

    The rules are those of git-check-ref-format(1): a name becomes a path in directories of ours.
    """
    refs: dict[str, str] = {}
    peeled: dict[str, str] = {}
    head_branch = head_commit = None
    for line in text.splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: " + HEADS) and is_ref_name(value.removeprefix("ref: ")):
            head_branch = value.removeprefix("ref: " + HEADS)
        elif not _OBJECT_ID.fullmatch(value):
            continue
        elif name == "HEAD":
            head_commit = Commit(value)
        elif is_ref_name(name.removesuffix(_PEELED)):
            (peeled if name.endswith(_PEELED) else refs)[name.removesuffix(_PEELED)] = value
    return Remote(
        address=address,
        head_branch=head_branch if head_commit else None,
        head_commit=head_commit,
        refs=refs,
        peeled=peeled,
    )


def is_ref_name(name: str) -> bool:
    """Whether it is a branch's or tag's full name by the rules of git-check-ref-format(1)."""
    prefix = next((prefix for prefix in (HEADS, TAGS) if name.startswith(prefix)), None)
    return prefix is not None and len(name) > len(prefix) and not _BAD_IN_NAME.search(name.removeprefix(prefix))


def _refusal(address: str, stderr: str) -> Exception:
    if (ssh := parse_ssh_address(address)) is not None and (refusal := ssh_refusal(ssh, stderr)) is not None:
        return refusal
    if _LOCKED.search(stderr):
        return RepositoryError(
            f"{address} asks for a login: it is private, or does not exist",
            hint="clone it yourself and give the path of the clone",
        )
    if _NOT_THERE.search(stderr):
        return NotFoundError(f"there is no git repository at {address}")
    return RepositoryError(f"{address} could not be read: {last_lines(stderr)}")
