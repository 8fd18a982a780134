"""Flags: what of a change deserves a second look before anybody merges it. A change is never altered for one."""

from dataclasses import dataclass
from enum import StrEnum


class FlagKind(StrEnum):
    """What a reader should know. The order is that of weight: what can act by itself first."""

    SECRET = "looks like a secret"
    AUTOMATION = "is run by the forge"
    HOOK = "is run or obeyed by tools when somebody works here"
    INSTRUCTIONS = "tells agents what to do"
    CLOISTER = "says how Cloister runs this repository"
    GIT = "changes how git reads this repository"
    SUBMODULE = "points to another repository's commit"
    LINK = "points out of the work tree"
    UNICODE = "holds characters that are not seen"
    EXECUTABLE = "can be executed now"
    LOCK = "is locked anew, and its manifest is as it was"
    BINARY = "is binary"
    LARGE = "is large"


MOST_OF_A_KIND = 20
"""Flags of one change; how many more files there are, the last of them says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One reason to look at one file."""

    kind: FlagKind
    path: str
    """Valid Unicode: other bytes are replaced."""
    detail: str = ""
    """Where, and what exactly, in a few words; never what the file holds."""
    more: int = 0
    """How many other files there are this reason to look at, which no flag names."""

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        more = f"; so for {self.more} more file{'s' * (self.more > 1)}" if self.more else ""
        return f"{self.path} {self.kind}{detail}{more}"
