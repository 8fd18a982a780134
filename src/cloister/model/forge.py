"""What a forge has beside git: repositories by name, branches with their rules, pull requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from cloister.model.sandbox import Commit
from cloister.model.secret import SecretValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How git gets to a repository, for a while."""

    address: str
    """Where it is now: a forge may have renamed it."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For git's environment; a short-lived token may be among them."""
    token: SecretValue | None = None
    """The same token, for what the forge has beside git there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeRepository:
    """A repository as its forge knows it."""

    name: str
    """`owner/name`, as it is called now."""
    address: str
    """For `--repo`."""
    default_branch: str
    private: bool
    may_push: bool
    """Whether Cloister's own login there may push, and so open pull requests."""
    id: str = ""
    """What the forge calls it for ever: a name may be another repository's tomorrow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeBranch:
    """A branch as its forge knows it."""

    name: str
    commit: Commit
    protected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who commits are by."""

    name: str
    email: str


class PullRequestState(StrEnum):
    """Where a pull request is."""

    OPEN = "open"
    MERGED = "merged"
    CLOSED = "closed"
    """Without being merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request as its forge has it."""

    number: int
    address: str
    """Its page."""
    state: PullRequestState
    branch: str
    base: str
    title: str
    body: str
    draft: bool
    author: str
    head: Commit
    """Of its branch."""
    fork: bool
    """Whether that branch is in another repository."""
    repository: str = ""
    """Id of the repository that it is to be merged in; see `ForgeRepository.id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPullRequest:
    """A pull request to be opened."""

    branch: str
    base: str
    title: str
    body: str
    draft: bool = False
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeLogin:
    """As whom Cloister is known to a forge, and how that is known."""

    address: str
    """Of the forge."""
    kind: str
    """`token`, `app`, or nothing."""
    name: str = ""
    missing: tuple[str, ...] = ()
    """What keeps it from working, one sentence each; nothing when it works."""
    permissions: Mapping[str, str] = field(default_factory=dict)
    """Of an app."""
    repositories: int | None = None
    """How many it may use, as far as was counted."""
    notes: tuple[str, ...] = ()
    """What keeps the forge's own messages from arriving, which nothing else needs; one sentence each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppManifest:
    """What makes an app of Cloister's own at a forge, once a person's browser posts it."""

    address: str
    """Where to, as the field `manifest` of a form, with a `state` in the query that comes back with the code."""
    manifest: str
    """JSON."""
    webhook: str | None
    """Where the forge will send its messages; None when it sends none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeApp:
    """An app that was made; what it logs in with is in the vault."""

    number: int
    """For the settings."""
    slug: str
    address: str
    """Its page."""
    install_address: str
    """Where it is installed for repositories."""
    webhook: bool
    """Whether it has one, whose secret is in the vault."""
    missing: tuple[str, ...] = ()
    """Permissions that it was not given, one sentence each."""
