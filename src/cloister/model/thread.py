"""What people say at a forge: issues and pull requests, the comments below them, and who may ask for work there."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum

from cloister.model.sandbox import Commit


class Permission(IntEnum):
    """What somebody may do with a repository; more is greater."""

    NONE = 0
    READ = 1
    WRITE = 2
    ADMIN = 3


class Reaction(StrEnum):
    """A sign below what somebody wrote."""

    TAKEN = "eyes"
    DONE = "rocket"
    FAILED = "confused"
    FINE = "+1"


class PlaceKind(StrEnum):
    """Where in a thread something was written."""

    OPENING = "opening"
    """The text of the issue or pull request itself."""
    COMMENT = "comment"
    REVIEW = "review"
    """The text of a review as a whole."""
    LINE = "line"
    """A comment of a review on lines of the change, or an answer to one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something was written."""

    kind: PlaceKind
    number: int
    """Of the issue or pull request."""
    id: int = 0
    """Of the comment or review; 0 for the opening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """Something that somebody wrote."""

    place: Place
    author: str
    """Login."""
    is_bot: bool
    body: str
    address: str = ""
    """Of its page."""
    at: datetime | None = None
    path: str = ""
    """Of the file, for one on lines."""
    first_line: int | None = None
    line: int | None = None
    """The last line that it is on; None when the lines are gone by now."""
    left: bool = False
    """Whether the lines are those before the change."""
    hunk: str = field(default="", repr=False)
    """The part of the diff that it is on."""
    answers: int | None = None
    """Id of the comment that its thread begins with; None for that one."""
    commit: str = ""
    """That it was written at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """An issue or pull request as people see it."""

    number: int
    title: str
    body: str
    author: str
    is_bot: bool
    address: str
    is_open: bool
    is_locked: bool
    is_pull_request: bool
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PullHead:
    """Where the two ends of a pull request are."""

    number: int
    is_open: bool
    is_merged: bool
    draft: bool
    branch: str
    commit: Commit
    base: str
    base_commit: Commit
    own: bool
    """Whether its branch is in the same repository: otherwise it comes from a fork."""
    repository: str = ""
    """Id of the repository that it is to be merged in; see `ForgeRepository.id`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """A file of a pull request."""

    path: str
    status: str
    added: int
    removed: int
    patch: str = field(default="", repr=False)
    """Its part of the diff; empty for one that is too large, or no text."""
