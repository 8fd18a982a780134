"""One request or tunnel of a sandbox, from when it was asked for to its end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from cloister.egress.request import Authority
from cloister.model.phase import Phase
from cloister.model.secret import Grant

_LONGEST_PATH = 300


@dataclass(slots=True)
class Traffic:
    """What a flow has carried since the policy let it out."""

    phase: Phase | None = None
    """Whose policy let it out; None before, and for what is refused."""
    began: float = 0.0
    """When, by the monotonic clock."""
    sent_bytes: int = 0
    """From the sandbox."""
    received_bytes: int = 0
    granted: tuple[Grant, ...] = ()
    """Whose values it may carry, or bring back."""

    def count_sent(self, count: int) -> None:
        """Add bytes that went up."""
        self.sent_bytes += count

    def count_received(self, count: int) -> None:
        """Add bytes that came down."""
        self.received_bytes += count


@dataclass(slots=True, eq=False)
class Flow:
    """A request or a tunnel that is judged or open, and the task that carries it."""

    authority: Authority
    methods: tuple[str, ...]
    task: "asyncio.Task[None]"
    end: "Callable[[Flow], None]"
    """Told when it is over."""
    door: int | None = None
    """Where it came in; then it is for the grant behind that door to say, and not for the policy."""
    number: int = 0
    """In its sandbox, from 1."""
    path: str = ""
    """Of the request's target, where it could be read; without its query."""
    opaque: bool = False
    """Whether nobody reads what goes through it."""
    traffic: Traffic = field(default_factory=Traffic)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(self)


def shown_path(target: str) -> str:
    """Return a target's path as it is reported: without the query, where secrets tend to be, and not endless."""
    return target.partition("?")[0][:_LONGEST_PATH]
