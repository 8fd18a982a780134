"""Findings of a review: what is wrong, where, and how much that matters."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class FindingPriority(StrEnum):
    """How much a finding matters, the weightiest first."""

    P0 = "P0"
    """Must not be merged: it breaks, loses data, or opens a hole."""
    P1 = "P1"
    """Should be mended before it is merged."""
    P2 = "P2"
    """Worth mending some time."""
    P3 = "P3"
    """A matter of taste."""


class Side(StrEnum):
    """Which side of a diff a line is counted on."""

    LEFT = "LEFT"
    """The file as it was."""
    RIGHT = "RIGHT"
    """The file as it is now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Lines to stand in place of those of a finding."""

    old: str
    """These lines as the agent read them; what is suggested is exact only while the file has them."""
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is wrong with a change."""

    path: str
    line: int
    """The last line that it is about, from 1."""
    start_line: int | None = None
    """The first, when it is about several."""
    side: Side = Side.RIGHT
    priority: FindingPriority
    title: str
    body: str = ""
    suggestion: Suggestion | None = None

    @property
    def first_line(self) -> int:
        """The first line that it is about."""
        return self.line if self.start_line is None else self.start_line

    @property
    def place(self) -> str:
        """Where it is, as people write it."""
        lines = f"{self.line}" if self.first_line == self.line else f"{self.first_line}-{self.line}"
        return f"{self.path}:{lines}{' (before the change)' if self.side is Side.LEFT else ''}"


PRIORITIES: Mapping[FindingPriority, int] = {priority: number for number, priority in enumerate(FindingPriority)}
"""How much they matter, the weightiest lowest."""
