"""What the forge keeps: people, apps, repositories and pull requests. The commits are in real bare repositories."""

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_HOOK = Path(__file__).with_name("update-hook.sh")
_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{role}_NAME": "GitHub" for role in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{role}_EMAIL": "noreply@github.invalid" for role in ("AUTHOR", "COMMITTER")},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A comment on lines."""

    path: str
    line: int
    start_line: int | None
    side: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOnForge:
    """A review of a pull request."""

    id: int
    author: str
    state: str
    body: str
    commit: str
    remarks: Sequence[Remark]


@dataclass(slots=True, kw_only=True)
class Pull:
    """A pull request."""

    number: int
    title: str
    body: str | None
    head: str
    """Its branch."""
    base: str
    author: str
    draft: bool = False
    state: str = "open"
    merged_at: datetime | None = None
    labels: list[str] = field(default_factory=list)
    last_head: str
    """The commit of its head, the last one while it was open."""
    fork: "Hosted | None" = None
    """Where its branch is, if that is not the repository itself."""
    reviews: list[ReviewOnForge] = field(default_factory=list)
    locked: bool = False
    assignees: list[str] = field(default_factory=list)
    reactions: list[tuple[str, str]] = field(default_factory=list)
    """Who, and with what."""


@dataclass(slots=True, kw_only=True)
class Issue:
    """An issue."""

    number: int
    title: str
    body: str | None
    author: str
    state: str = "open"
    locked: bool = False
    labels: list[str] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    reactions: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Written:
    """A comment, below an issue or pull request or on lines of one."""

    id: int
    number: int
    """Of the issue or pull request."""
    author: str
    body: str
    at: datetime
    edits: int = 0
    path: str | None = None
    """Of the file, for one on lines."""
    line: int | None = None
    side: str = "RIGHT"
    hunk: str = ""
    commit: str = ""
    review: int | None = None
    answers: int | None = None
    """Id of the comment that its thread begins with."""
    reactions: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class CheckRunOnForge:
    """A check run of an app."""

    id: int
    head: str
    name: str
    external_id: str | None = None
    details_url: str | None = None
    status: str = "queued"
    conclusion: str | None = None
    output: Mapping[str, Any] = field(default_factory=dict)
    annotations: list[Mapping[str, Any]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Its status after each request."""
    log: bytes | None = None
    """Of a job of GitHub Actions; None for checks of others."""


@dataclass(slots=True, kw_only=True)
class Hosted:
    """A repository."""

    id: int
    owner: str
    name: str
    path: Path
    """The bare repository."""
    private: bool
    default_branch: str
    writers: set[str]
    readers: set[str]
    protected: set[str]
    """Branches that nobody pushes to."""
    pulls: dict[int, Pull] = field(default_factory=dict)
    labels: set[str] = field(default_factory=lambda: {"bug"})
    issues: dict[int, Issue] = field(default_factory=dict)
    written: dict[int, Written] = field(default_factory=dict)
    """Comments by id, oldest first."""
    count_written: int = 0
    runs: dict[int, CheckRunOnForge] = field(default_factory=dict)
    """Check runs by id, oldest first."""
    statuses: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    """Of commits, oldest first."""

    @property
    def full_name(self) -> str:
        """`owner/name`."""
        return f"{self.owner}/{self.name}"

    def next_number(self) -> int:
        """Return the number of the next issue or pull request."""
        return max([*self.pulls, *self.issues], default=0) + 1

    def open_issue(self, author: str, title: str, body: str | None = None) -> Issue:
        """Let somebody open an issue."""
        made = Issue(number=self.next_number(), title=title, body=body, author=author)
        self.issues[made.number] = made
        return made

    def write(self, number: int, author: str, body: str, **on_lines: Any) -> Written:
        """Let somebody write a comment; with a path, a line and the rest of `Written`, on that line."""
        id = self.id * 1_000_000 + self.count_written + 1
        self.count_written += 1
        at = datetime.now(UTC).replace(microsecond=0)
        made = Written(id=id, number=number, author=author, body=body, at=at, **on_lines)
        self.written[id] = made
        return made

    def git(self, *arguments: str) -> str:
        """Run git in the bare repository."""
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", *arguments], env=_ENVIRONMENT, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def find_commit(self, branch: str) -> str | None:
        """Return a branch's commit."""
        found = self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}")
        return found or None

    def has(self, commit: str) -> bool:
        """Whether it has a commit."""
        asked = ["git", f"--git-dir={self.path}", "cat-file", "-e", f"{commit}^{{commit}}"]
        return subprocess.run(asked, env=_ENVIRONMENT, capture_output=True).returncode == 0

    def branches(self) -> Mapping[str, str]:
        """Return the commit of every branch by its name, sorted."""
        listing = self.git("for-each-ref", "--sort=refname", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads")
        return dict(line.split() for line in listing.splitlines())

    def follow_branches(self) -> None:
        """Do what a push does to pull requests: a head moves on, and one whose branch is gone is closed."""
        for pull in self.pulls.values():
            if pull.state == "open":
                head = (pull.fork or self).find_commit(pull.head)
                if head is not None and pull.fork is not None:
                    self.git("fetch", "--quiet", str(pull.fork.path), f"+{head}:refs/pull/{pull.number}/head")
                if head is None:
                    pull.state = "closed"
                else:
                    pull.last_head = head

    def merge(self, pull: Pull, *, squash: bool = False) -> str | None:
        """Merge, and return the new commit of the base; None when that cannot be done without conflict."""
        base = self.git("rev-parse", f"refs/heads/{pull.base}")
        done = subprocess.run(
            ["git", f"--git-dir={self.path}", "merge-tree", "--write-tree", base, pull.last_head],
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            return None
        parents = ["-p", base] if squash else ["-p", base, "-p", pull.last_head]
        words = f"{pull.title} (#{pull.number})"
        commit = self.git("commit-tree", done.stdout.split()[0], *parents, "-m", words)
        self.git("update-ref", f"refs/heads/{pull.base}", commit, base)
        pull.state, pull.merged_at = "closed", datetime.now(UTC).replace(microsecond=0)
        return commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """The webhook of an app."""

    url: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppOnForge:
    """A GitHub App that is installed for one account."""

    id: int
    slug: str
    public_key: str
    """PEM."""
    installation: int
    owner: str
    """The account whose repositories it may use."""
    permissions: Mapping[str, str]
    events: tuple[str, ...] = ()
    """That it is told of."""
    hook: Hook = Hook()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks."""

    login: str
    app: AppOnForge | None = None
    """Of an installation."""
    workflows: bool = True
    """May push changes of workflows."""
    only: frozenset[str] | None = None
    """Names of the repositories that a token is for; None for all of its installation's."""

    def may_read(self, repository: Hosted) -> bool:
        """Whether they see it."""
        return not repository.private or self._is_among(repository, repository.readers | repository.writers)

    def may_write(self, repository: Hosted) -> bool:
        """Whether they may push, and open pull requests."""
        if self.app is not None and self.app.permissions.get("contents") != "write":
            return False
        return self._is_among(repository, repository.writers)

    def may_review(self, repository: Hosted) -> bool:
        """Whether they may comment on pull requests: whoever sees them, and an app that was let."""
        if self.app is not None and self.app.permissions.get("pull_requests") != "write":
            return False
        return self.may_read(repository)

    def _is_among(self, repository: Hosted, people: set[str]) -> bool:
        if self.app is None:
            return self.login in people
        return repository.owner == self.app.owner and (self.only is None or repository.name in self.only)


def make_repository(
    path: Path, *, number: int, full_name: str, private: bool, writers: Sequence[str], protected: Sequence[str]
) -> Hosted:
    """Make an empty one on disk, with the rules for pushes."""
    owner, name = full_name.split("/")
    repository = Hosted(
        id=number,
        owner=owner,
        name=name,
        path=path,
        private=private,
        default_branch="main",
        writers=set(writers),
        readers=set(),
        protected=set(protected),
    )
    subprocess.run(
        ["git", "init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path)],
        env=_ENVIRONMENT,
        check=True,
    )
    repository.git("config", "http.receivepack", "true")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "true")
    hooks = path / "hooks"
    hooks.mkdir()
    (hooks / "update").write_bytes(_HOOK.read_bytes())
    (hooks / "update").chmod(0o755)
    return repository
