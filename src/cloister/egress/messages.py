"""What the worker and the egress process say to each other, as JSON whose shape is checked when it is read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Self

from msgspec import Struct

from cloister.egress.authority import Authority
from cloister.model.asker import Asker, Connection
from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model.model_door import ModelCall
from cloister.model.network import EgressEnd, EgressRecord, NetworkPolicy
from cloister.model.secret import Grant
from cloister.model.upstreams import Upstreams
from cloister.protocols import Listeners


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressSettings:
    """What the operator of a node sets, for every sandbox alike."""

    allow_private: tuple[str, ...] = ()
    """Private ranges that may be dialled, such as `10.1.0.0/16`."""
    registries: tuple[str, ...] = ()
    """Hosts, as `parse_host` returns them, that may have private addresses. They stand for no sub-domains."""
    authorities: str = ""
    """PEM certificates that may vouch for upstreams, beside those that the host trusts."""
    upstreams: Upstreams = field(default_factory=Upstreams)
    """The way to every host: by a proxy in between, or to an address that the operator gives."""
    ceiling: Ceiling = UNBOUNDED
    """What no environment can exceed."""
    authority: Authority | None = None
    """Vouches to sandboxes for us where HTTPS is read; without it, nothing that needs that is let out."""
    connections: int = 512
    """Open connections of one sandbox, half-open ones included; more wait in the kernel's queue."""
    lookups: int = 4
    """Names that are looked up at once for one sandbox."""
    decisions_at_once: int = 2000
    """Decisions of one sandbox without a pause; each is an event that is kept."""
    decisions_per_second: float = 50.0
    """And those that follow; the sandbox waits."""
    request_seconds: float = 30.0
    """For a request's head, and for a tunnel's first bytes, to arrive."""
    idle_seconds: float = 60.0
    """A connection may be silent between two requests."""
    dial_seconds: float = 15.0
    """For an upstream to be found and to answer the connection."""
    response_seconds: float = 300.0
    """An upstream may be silent within one plain HTTP exchange."""
    model_seconds: float = 1800.0
    """And a model, which thinks before it answers."""


@dataclass(frozen=True, slots=True)
class Question:
    """Asks who holds the sandbox's end of a connection."""

    sandbox: str
    number: int
    """Of the connection, among all of one egress process."""
    connection: Connection


class ListenerCounts(Struct, frozen=True):
    """How many of a message's descriptors are for what, in this order."""

    proxy: int
    transparent: int
    names: int
    doors: tuple[tuple[int, int], ...]
    """Ports, each with its count."""

    @classmethod
    def of(cls, listeners: Listeners) -> Self:
        """Count `listeners.descriptors()`."""
        doors = tuple((port, len(descriptors)) for port, descriptors in listeners.doors.items())
        return cls(len(listeners.proxy), len(listeners.transparent), len(listeners.names), doors)

    def assign(self, descriptors: Sequence[int]) -> Listeners:
        """Return the listeners that these received descriptors are."""
        rest: Iterator[int] = iter(descriptors)

        def take(count: int) -> tuple[int, ...]:
            return tuple(islice(rest, count))

        return Listeners(
            proxy=take(self.proxy),
            transparent=take(self.transparent),
            names=take(self.names),
            doors={port: take(count) for port, count in self.doors},
        )


class Begin(Struct, frozen=True, tag="begin"):
    """The worker's first message. It holds keys and credentials: for the control socket alone."""

    settings: EgressSettings


class Open(Struct, frozen=True, tag="open"):
    """Serve a sandbox like this from now on. It holds the secrets of the grants: for the control socket alone."""

    ticket: int
    name: str
    policy: NetworkPolicy
    grants: tuple[Grant, ...]
    listeners: ListenerCounts


class Close(Struct, frozen=True, tag="close"):
    """Serve a sandbox no more."""

    ticket: int
    name: str


class Answer(Struct, frozen=True, tag="answer"):
    """Who holds a connection; None when that is not known."""

    number: int
    asker: Asker | None


class Ready(Struct, frozen=True, tag="ready"):
    """The egress process's first message: it has its settings."""


class Done(Struct, frozen=True, tag="done"):
    """What the worker ordered under this ticket is in force."""

    ticket: int


class Recorded(Struct, frozen=True, tag="recorded"):
    """A decision, for the sandbox's log."""

    record: EgressRecord
    question: Question | None
    """Who asked for it, where that is not said yet."""


class Ended(Struct, frozen=True, tag="ended"):
    """The end of what was allowed, for the sandbox's log."""

    end: EgressEnd


class Called(Struct, frozen=True, tag="called"):
    """A call of a model that is over, for the sandbox's log."""

    call: ModelCall


class Who(Struct, frozen=True, tag="who"):
    """A question that waits for its `Answer`."""

    question: Question


Said = Ready | Done | Recorded | Ended | Called | Who
"""By the egress process."""
Ordered = Begin | Open | Close | Answer
"""By the worker."""
