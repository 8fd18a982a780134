"""Where repositories come from, and where changes go."""

from collections.abc import AsyncIterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cloister.model.event import Event
from cloister.model.forge import (
    AppManifest,
    ForgeBranch,
    ForgeLogin,
    ForgeRepository,
    MadeApp,
    NewPullRequest,
    Person,
    PullRequest,
    Way,
)
from cloister.model.large_file import LargeFiles
from cloister.model.project import ProjectFiles
from cloister.model.publication import BranchDraft, Composed, Publication
from cloister.model.sandbox import Commit
from cloister.model.submodule import Submodules
from cloister.model.task import Repository, Revision, TaskId


class Forge(Protocol):
    """Where repositories live."""

    async def resolve(self, repository: Repository, ref: str | None) -> Revision:
        """Bring the repository's mirror up to date and pin `ref`.

        A ref is a branch, tag, full or short commit; None is the default branch. Concurrent calls for one
        repository fetch once. A commit that only branches of Cloister's own have is foreign, and so is one above what
        Cloister pushed to a person's branch, until another branch has that; a default branch that is
        so is a UsageError. NotFoundError when the repository or the ref does not exist or has no commit;
        RepositoryError when it cannot be reached.
        """
        ...

    async def branches(self, repository: Repository) -> Sequence[ForgeBranch]:
        """Return its branches by name, the first thousand; nothing is fetched. Errors as for `resolve`.

        Which of them are protected git does not tell.
        """
        ...

    async def take_bundle(self, repository: Repository, bundle: AsyncIterable[bytes], *, head: str | None) -> None:
        """Let a repository at a bundle's address be what this git bundle holds, with `head` as its default branch.

        UsageError when it is none, is not whole, or has no such branch, or when its sender has sent too much;
        NotFoundError when it is empty. Nothing has changed then.
        """
        ...

    async def unused_bundles(self, before: datetime) -> Sequence[str]:
        """Return the addresses of bundles' repositories that were sent, asked about or lent last before that time."""
        ...

    async def forget_bundle(self, address: str, before: datetime) -> bool:
        """Remove what came as a bundle, unless it was used since that time; return whether it was removed."""
        ...

    async def mirror(self, repository: Repository, commit: Commit) -> Path:
        """Return the bare mirror on this node with `commit` in it, fetching it only when it is not."""
        ...

    async def fetch_large_files(self, repository: Repository, commits: Sequence[Commit]) -> LargeFiles:
        """Bring the objects into the mirror that files of these commits, if it has them, are pointers to (Git LFS).

        What cannot be had stays a pointer, and is said. What comes is kept only if it is what the pointer says.
        """
        ...

    async def tidy(self) -> None:
        """Remove large objects that nobody used for long, and what killed processes left. Harmless at any time."""
        ...

    async def fetch_submodules(self, repository: Repository, commits: Sequence[Commit], default: Commit) -> Submodules:
        """Bring the trees of submodules of these commits, if it has them, into the mirror; return those of the last.

        Over https, from the repository's own server and the forge of the settings, with Cloister's login for what the
        default branch's commit names too, unless the repository is public; of a foreign commit (see `resolve`) nothing
        else. What cannot be had stays an empty folder, and is said.
        """
        ...

    async def read_file(self, repository: Repository, commit: Commit, path: str) -> bytes | None:
        """Return a file of that commit, from the mirror; None when there is no such regular file."""
        ...

    async def find_files(self, repository: Repository, commit: Commit, paths: Sequence[str]) -> Sequence[str]:
        """Return the paths of the regular files of that commit that are one of `paths`, or below one that is a folder.

        Sorted, from the mirror; at most 1,000. Nothing in `paths` is a pattern.
        """
        ...

    async def merge_base(self, repository: Repository, one: Commit, other: Commit) -> Commit | None:
        """Return the best common ancestor of two commits; None when they have none."""
        ...

    async def diff(self, repository: Repository, old: Commit, new: Commit, *, context: int = 3) -> bytes:
        """Return what differs, as git writes it, renames found and with so many lines around each change.

        Executes nothing that the repository names. RepositoryError above 32 MiB.
        """
        ...

    async def project_files(self, repository: Repository, commit: Commit) -> ProjectFiles:
        """Return the manifests and lock files of that commit, from the mirror. RepositoryError without the commit."""
        ...

    async def note(self, repository: Repository) -> str | None:
        """Say what of a local repository is no part of a task, such as uncommitted work; None when there is nothing.

        Executes nothing that the repository's own configuration names.
        """
        ...


class ForgeHost(Protocol):
    """What a forge has beside git. RepositoryError when it refuses, UnreachableError when it does not answer.

    NotFoundError for what is not there, or not shown to Cloister's login; UsageError without a login.
    """

    def covers(self, repository: Repository) -> bool:
        """Whether that repository is at this forge."""
        ...

    async def way_to(self, repository: Repository, *, push: bool = False, workflows: bool = False) -> Way:
        """Return how git gets there: without a login where Cloister has none, and for other hosts.

        What is short-lived lasts for minutes. To push changes of the forge's own workflows has to be asked for.
        """
        ...

    async def describe(self, repository: Repository) -> ForgeRepository:
        """Return what the forge knows of a repository, whatever it was called before."""
        ...

    async def repositories(self) -> Sequence[ForgeRepository]:
        """Those that Cloister's login may use, the first thousand."""
        ...

    async def branches(self, repository: Repository) -> Sequence[ForgeBranch]:
        """The branches of a repository, the first thousand."""
        ...

    async def author(self) -> Person:
        """Who commits are by: Cloister's login."""
        ...

    async def get_pull_request(self, repository: Repository, number: int) -> PullRequest:
        """Return a pull request by its number. NotFoundError."""
        ...

    async def find_pull_request(self, repository: Repository, branch: str) -> PullRequest | None:
        """Return the open pull request of that branch, else the newest."""
        ...

    async def open_pull_request(self, repository: Repository, new: NewPullRequest) -> PullRequest:
        """Open one. Repeatable: an open one of that branch is returned as it is, and none is made beside it."""
        ...

    async def update_pull_request(
        self, repository: Repository, number: int, *, title: str | None = None, body: str | None = None
    ) -> PullRequest:
        """Replace its title, its text, or both."""
        ...

    async def label_pull_request(self, repository: Repository, number: int, labels: Sequence[str]) -> None:
        """Add labels."""
        ...

    async def assign_pull_request(self, repository: Repository, number: int, people: Sequence[str]) -> Sequence[str]:
        """Give it to people, beside those who have it; return those of them whose it is now."""
        ...

    async def make_ready(self, repository: Repository, number: int) -> None:
        """Let a draft be one to be reviewed. Harmless for one that is."""
        ...

    async def set_login(self, kind: str, value: str) -> None:
        """Keep what Cloister logs in with, `token` or `key`, sealed. UsageError, with nothing changed, for another."""
        ...

    def app_manifest(self, *, name: str, organization: str | None, redirect: str, workflows: bool) -> AppManifest:
        """Return what a person's browser posts there to make an app, which leads it to `redirect` with a code.

        UsageError for a name that can be none, and a `redirect` that is not this very machine's.
        """
        ...

    async def make_app(self, code: str) -> MadeApp:
        """Make the app that a code stands for, once, and keep what it logs in with, sealed.

        UsageError for what is no code; NotFoundError when it was used, or is too old.
        """
        ...

    async def login(self) -> ForgeLogin:
        """Say as whom Cloister is known there, and what is missing."""
        ...


class BranchWriter(Protocol):
    """Makes commits of changes, and pushes them to branches of Cloister's own."""

    async def head(self, repository: Repository, branch: str) -> Commit | None:
        """Return where a branch is at the forge now; None when it is not there."""
        ...

    async def compose(self, repository: Repository, draft: BranchDraft) -> Composed:
        """Make the commits that a branch shall have: real history above the real base. Nothing is pushed.

        The first is on the newest of the branch that it is to be merged into, where that merges; a later one is above
        what was pushed before, and has that merged into it. The same draft makes the same commits. ConflictError when
        what was changed since does not fit what was pushed; NotFoundError without that branch.
        """
        ...

    async def push(
        self,
        repository: Repository,
        branch: str,
        commit: Commit,
        *,
        expected: Commit | None,
        default_branch: str,
        workflows: bool = False,
        adopted: bool = False,
    ) -> None:
        """Push a composed commit to a branch, if that is where it is expected to be (None: absent).

        To one that is `adopted`, of a pull request whose people asked for it, only what goes on from where it is.

        Repeatable. ConflictError when somebody else pushed; DeniedError for a branch that is neither adopted nor
        Cloister's own, and when the forge refuses; UnreachableError when it did not arrive.
        """
        ...


class PublicationStore(Protocol):
    """What Cloister made of tasks at forges."""

    async def find(self, task: TaskId) -> Publication | None:
        """Return what is known of a task's branch and pull request."""
        ...

    async def of_pull_request(self, repository: str, number: int) -> Publication | None:
        """Return the one of that pull request, by the id of its repository; None for those of people."""
        ...

    async def note_adopted(self, branch: str, commit: Commit, at: datetime) -> None:
        """Remember for ever that this commit, which an agent wrote, goes to a person's branch; synced. Repeatable."""
        ...

    async def adopted_commits(self) -> Mapping[Commit, str]:
        """Return the branches that such commits were pushed to."""
        ...

    async def save(self, publication: Publication, at: datetime, events: Sequence[Event] = ()) -> None:
        """Keep it in place of what was known, with these events of the task; synced to disk when this returns."""
        ...
