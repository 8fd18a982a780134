"""What becomes of times that were missed; by itself, for the command line offers it before it needs the rest."""

from enum import StrEnum


class Missed(StrEnum):
    """What becomes of times at which no server ran."""

    ONCE = "once"
    """One task, as soon as a server runs, however many times were missed."""
    SKIP = "skip"
    """None; the next time counts."""
