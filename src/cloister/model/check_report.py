"""What a forge is told of the checks of an attempt, beside the commit that they are about."""

from dataclasses import dataclass, field
from enum import StrEnum

from cloister.model.sandbox import Commit

CHECKS_NAME = "Cloister"
"""What the report is called at the forge."""
LONGEST_REPORT_TEXT = 60_000
"""Characters of a summary and of a text; GitHub takes 65,535 of each."""
MOST_ANNOTATIONS = 200


class Conclusion(StrEnum):
    """How checks ended, as a forge has it."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    """They say nothing: they did not run."""


class AnnotationLevel(StrEnum):
    """How much a place matters."""

    NOTICE = "notice"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """What a check says of a place."""

    path: str
    line: int
    level: AnnotationLevel
    message: str
    title: str
    """Name of the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What is told."""

    commit: Commit
    id: str
    """Ours: a second report with it takes the place of the first."""
    address: str | None
    """Of the page that tells more."""
    conclusion: Conclusion | None = None
    """None while they run."""
    title: str
    summary: str = ""
    text: str = field(default="", repr=False)
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedCheck:
    """A check of somebody else's that failed, as its forge tells of it. Whatever ran there wrote its texts."""

    name: str
    conclusion: str
    address: str
    """Of its page."""
    text: str = field(default="", repr=False)
    """Title, summary, the end of its text, and the places that it names."""
    log: str = field(default="", repr=False)
    """The end of what it printed, where its forge has that."""
