"""Numbers of a stretch of time: how tasks ended, how soon they started, whom they asked, what they used."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

MOST_REQUESTS = 20_000
"""Of more requests that were let out, or were refused, the newest are counted by host. Tasks are counted all."""
MOST_HOSTS = 15
START_BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds in seconds of the groups of starts; the last group has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCount:
    """How the tasks ended that were accepted in a part of the time."""

    at: datetime
    """When the part begins."""
    counts: Mapping[str, int]
    """By verdict; by state, of those that are not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCount:
    """Requests to one host."""

    host: str
    allowed: int
    refused: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentUse:
    """What one agent did, and what its models used."""

    agent: str
    attempts: int
    succeeded: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    """In US dollars; None when that of a call is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """All of them."""

    since: datetime
    until: datetime
    tasks: int
    """All that were accepted in this time."""
    is_cut: bool
    """Whether there were more requests than are counted by host."""
    outcomes: tuple[OutcomeCount, ...]
    """Of equal parts of the time, oldest first, those without a task too."""
    starts: tuple[int, ...]
    """Attempts by the time from acceptance to the agent's start, by START_BOUNDS."""
    median_start_seconds: float | None
    """None when no agent started."""
    cache_hits: int
    cache_misses: int
    hosts: tuple[HostCount, ...]
    """Those that were asked most, most first."""
    agents: tuple[AgentUse, ...]
    """By name."""
