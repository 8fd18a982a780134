"""A task's branch at the forge, and its pull request: what Cloister made of them last."""

from dataclasses import dataclass, field
from datetime import datetime

from cloister.model.forge import Person, PullRequest
from cloister.model.sandbox import Commit
from cloister.model.task import AttemptId, TaskId

AUTOMATION = tuple(f".{forge}/{kind}/" for forge in ("github", "gitea", "forgejo") for kind in ("workflows", "actions"))
"""Beginnings of the paths of what a forge runs by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What was pushed."""

    head: Commit
    """Of the branch."""
    tree: str
    """The work tree as the agent left it, on the task's own base: what a later change is compared with."""
    attempt: AttemptId
    """Whose change it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What is known of a task's branch and pull request."""

    task: TaskId
    branch: str
    base: str
    """Branch that it is to be merged into."""
    pushed: Pushed | None = None
    """None until a push is known to have arrived."""
    pushing: Pushed | None = None
    """What is being pushed: after a fault, it may be there or not."""
    number: int | None = None
    """Of the pull request."""
    address: str | None = None
    """Of its page."""
    title: str | None = None
    """As Cloister wrote it; another one is a person's, and stays."""
    adopted: bool = False
    """Branch and pull request are a person's, who asked for commits there: nothing else of them is changed."""
    reference: str = ""
    """Of the issue that it was asked for in, such as `#12`."""
    repository: str = ""
    """Id of the repository that it is in; see `ForgeRepository.id`. Empty for what was kept without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchDraft:
    """What a branch shall hold."""

    base: Commit
    """The task's own: what the change is against."""
    diff: bytes = field(repr=False)
    """The whole change."""
    onto: str
    """Branch of the repository that it is to be merged into."""
    former: Pushed | None
    message: str
    author: Person
    at: datetime
    attempt: AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """Commits that are ready to be pushed."""

    pushed: Pushed
    """What the branch is once they are."""
    onto: Commit
    """The newest of the branch that it is to be merged into."""
    conflicts: tuple[str, ...] = ()
    """Paths in which that has moved on otherwise, so that a person has to merge."""
    is_empty: bool = False
    """Nothing differs from that branch."""
    is_above: bool = False
    """That branch has nothing that is not in these commits' history: they can be pushed to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """How a change is published."""

    draft: bool = False
    labels: tuple[str, ...] = ()
    workflows: bool = False
    """Also when it changes what the forge runs by itself."""
    again: bool = False
    """Also when a person closed the task's pull request."""
    ready: bool = False
    """A draft becomes one to be reviewed."""
    assignees: tuple[str, ...] = ()
    """People whose it shall be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedIn:
    """Where at the forge a task was asked for."""

    adopt: str | None = None
    """Branch of a person's pull request that they asked for commits on; None: a branch of the task's own."""
    reference: str = ""
    """Of the issue, such as `#12`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What came of it."""

    pull_request: PullRequest
    opened: bool
    """Whether it is new."""
    commit: Commit
    """Of the branch."""
    conflicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What the user should know."""
