"""The audit: who asked for which change, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A request that would change something, or that was refused to somebody. It holds no value that may be secret."""

    number: int = 0
    """Its place in the order of all; 0 until it is kept."""
    at: datetime
    who: str
    """Name of the caller; empty when nobody knows who it was."""
    by: str
    """What let them in: `token ID`, `session ID`, `owner`; empty when nothing did."""
    role: str
    address: str
    """From where; empty for the socket of the state directory and for commands without a server."""
    method: str
    path: str
    """With the names of what it is about; without a query."""
    action: str
    """The operation, as the API's document names it; empty when there is none."""
    about: Mapping[str, str] = field(default_factory=dict)
    """What it names besides: `environment`, `name`, `role`, ...; and `made`, the id of what it made."""
    fields: tuple[str, ...] = ()
    """Names of what was sent, without the values."""
    status: int
    """Of HTTP; 0 when it was cut off."""

    @property
    def is_refused(self) -> bool:
        """Whether the caller was not let in, or may not do that."""
        return self.status in {401, 403, 429}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries somebody wants to see."""

    who: str | None = None
    action: str | None = None
    """Or how it begins: `tokens` for all of tokens."""
    since: datetime | None = None
    until: datetime | None = None
    refused: bool = False
    """Only those that were refused."""
