"""What a forge tells Cloister of: deliveries of its webhook, kept until they are worked off."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgeDelivery:
    """A delivery as it is shown."""

    id: str
    """As the forge calls it."""
    kind: str
    """Of event, such as `issue_comment`."""
    arrived_at: datetime
    tries: int
    next_at: datetime | None
    """When it is looked at next; None when it is over."""
    outcome: str
    """What came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A delivery. That its body is the forge's was checked; what it says was not."""

    id: str
    """As the forge calls it."""
    kind: str
    """Of event, such as `issue_comment`."""
    body: bytes = field(repr=False)
    """JSON; forgotten as soon as it is worked off."""
    digest: str
    """SHA-256 of the body: the id is not signed, so the same body under another id is the same delivery."""
    arrived_at: datetime
    tries: int = 0
    next_at: datetime | None = None
    """When it is to be looked at; None when it is over."""
    outcome: str = ""
    """What came of it, in a few words."""

    def as_delivery(self) -> ForgeDelivery:
        """Return what is shown of it: not what it says."""
        return ForgeDelivery(
            id=self.id,
            kind=self.kind,
            arrived_at=self.arrived_at,
            tries=self.tries,
            next_at=self.next_at,
            outcome=self.outcome,
        )
