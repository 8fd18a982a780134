"""Word of tasks that is sent to other programs."""

import secrets
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from cloister.model.event import RecordedEvent
from cloister.model.task import TaskId

WebhookId = NewType("WebhookId", str)
DeliveryId = NewType("DeliveryId", str)

EVENTS = (
    "task_accepted",
    "turn_accepted",
    "attempt_started",
    "phase_started",
    "phase_finished",
    "snapshot_hit",
    "snapshot_missed",
    "residue_found",
    "egress_refused",
    "diff_collected",
    "check_finished",
    "attempt_finished",
    "task_finished",
)
"""Those that may be sent: what is told of once or a few times, and nothing that was printed."""
TEST = "webhook_test"
"""What a test is called in place of an event."""
SECRET_PLACE = "\x01webhooks"
"""In the vault, where no environment is."""
MOST_DELIVERIES_KEPT = 200
"""Of each webhook, once they are over."""

_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Who is told, and of what. What its messages are signed with is in the vault."""

    id: WebhookId
    url: str
    events: tuple[str, ...]
    created_at: datetime
    created_by: str
    paused: bool = False
    reason: str = ""
    """Why it was paused, when nobody asked for that."""
    rotated_at: datetime | None = None
    """When its secret was last replaced: for a day, messages are signed with the former one too."""

    @property
    def secret_name(self) -> str:
        """What its secret is called in the vault."""
        return f"WEBHOOK_{self.id.upper()}"

    @property
    def former_secret_name(self) -> str:
        """What the secret before that is called."""
        return f"{self.secret_name}_FORMER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one receiver."""

    id: DeliveryId
    """The same for every trial, so that a receiver knows what it has."""
    webhook: WebhookId
    event: str
    task: TaskId | None
    seq: int | None
    """Of the event in the task's log."""
    created_at: datetime
    tries: int = 0
    next_at: datetime | None = None
    """When it is tried (again); None when it is over."""
    delivered_at: datetime | None = None
    status: int | None = None
    """What the last trial was answered."""
    error: str = ""
    """Why the last trial failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """What is to be sent now."""

    delivery: Delivery
    webhook: Webhook
    recorded: RecordedEvent | None
    """None for a test, and when the task was forgotten meanwhile."""


def new_webhook_id() -> WebhookId:
    """Return a name for a webhook."""
    return WebhookId(secrets.token_hex(4))


def new_delivery_id() -> DeliveryId:
    """Return a name for a message."""
    return DeliveryId(f"msg_{secrets.token_hex(12)}")


def new_webhook_secret() -> str:
    """Return what messages are signed with, as Standard Webhooks writes it."""
    return "whsec_" + b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
