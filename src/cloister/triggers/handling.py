"""How a delivery is worked off: a handler for each kind of event, and what it may say.

To add one, write a module in this package with a class that has `kinds` and `handle`, and name it in
`wiring`. Each handler of a kind is asked about each delivery of it. A handler

- reads the body with `payloads.read_payload`, into a model of no more than it needs;
- believes nothing of it: what it acts on is asked of the forge again (`protocols.ForgeThreads`), and whether the person
  may ask for work is what `Gatekeeper.let_in` says;
- does what takes long in a `slow_lane.SlowLane`, where it keeps nothing quick waiting;
- may be called again for the same delivery, after a fault or when the server was killed: what it does a second time
  changes nothing more.

What begins with `@NAME word` in a comment is dispatched by `mentions` to the `Command` of that word.
"""

from dataclasses import dataclass
from typing import Protocol

from cloister.errors import CloisterError
from cloister.model.inbox import Arrived


@dataclass(frozen=True, slots=True)
class Handled:
    """What came of a delivery."""

    outcome: str
    """In a few words, for who looks at the inbox."""


class LaterError(CloisterError):
    """It cannot be done yet. This is no fault, and counts as no trial."""

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class TurnUnderWayError(LaterError):
    """The task's last turn is not over: what was asked for waits for that."""


class Handler(Protocol):
    """Works off deliveries of some kinds.

    A UsageError or DeniedError is the end of it, and its words are the outcome; after any other error it is tried
    again, later and later, and after a RateLimitError when it says.
    """

    @property
    def kinds(self) -> frozenset[str]:
        """Of events, as the forge calls them."""
        ...

    async def handle(self, arrived: Arrived) -> Handled | None:
        """Do what is to be done, if that is for this handler. Repeatable. LaterError."""
        ...
