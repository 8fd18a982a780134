"""Reviews of pull requests: what is asked of an agent, what it finds, and what of that was posted."""

from dataclasses import dataclass, field

from cloister.model.finding import Finding, FindingPriority, Side
from cloister.model.sandbox import Commit

REVIEW_FILE = "/cloister/out/review.json"
"""Where an agent writes its findings."""
LONGEST_FOCUS = 2000
"""Characters of what a review shall look for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRules:
    """What an AGENTS.md says of reviews."""

    path: str
    """Of the file; it is for what lies in its folder and below."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAsk:
    """What a task that is a review is asked, pinned when it was accepted."""

    number: int
    """Of the pull request."""
    address: str
    """Its page."""
    title: str
    author: str
    target: str
    """Branch that it is to be merged into."""
    base: Commit
    """Where it left that branch: the whole change is the difference to here."""
    since: Commit | None = None
    """What was reviewed before: only what came after it is of interest."""
    focus: str = ""
    """What to look for, in the words of whoever asked."""
    lowest: FindingPriority = FindingPriority.P1
    """Findings that matter less are left out."""
    rules: tuple[ReviewRules, ...] = ()
    """Of the branch that it is to be merged into, from the root down."""
    post: bool = False
    """Whether it is posted as soon as it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What an agent found."""

    findings: tuple[Finding, ...]
    """The weightiest first."""
    summary: str = ""
    left_out: int = 0
    """How many findings matter less than was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineComment:
    """A comment on lines of a pull request's diff."""

    path: str
    line: int
    start_line: int | None
    side: Side
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewReview:
    """A review to be posted. It neither approves nor refuses."""

    commit: Commit
    """That its comments are about."""
    body: str
    comments: tuple[LineComment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedReview:
    """A review as its forge has it."""

    id: int
    address: str
    commit: Commit
    author: str
    body: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownReview:
    """What is known of a review."""

    task: str
    repository: str
    """Address."""
    number: int
    """Of the pull request."""
    head: Commit
    """What is, or was, reviewed."""
    waiting: bool = False
    """It is to be posted as soon as its task is over."""
    problem: str = ""
    """Why it was not."""
    idle: bool = False
    """It looked at what was new, and there was nothing to say."""
    fingerprints: tuple[str, ...] = ()
    """Of its findings that were posted, by whatever turn, so that none is posted twice."""
    posted: PostedReview | None = None
    turn: int = 1
    """Of the task whose findings were posted last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """What came of posting a review."""

    review: PostedReview
    again: bool
    """It was there already."""
    comments: int
    """How many findings stand at their lines."""
    elsewhere: int
    """How many stand in the text, because the diff does not show their lines."""
    known: int
    """How many a former review had said already."""
    notes: tuple[str, ...] = ()
