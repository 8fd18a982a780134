"""What both ends of the API say: a client needs nothing of the server's framework to know it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from cloister.model.notification import Occasion, Receiver, ReceiverKind
from cloister.model.task import FollowUp
from cloister.model.token import Token
from cloister.model.webhook import Webhook

PREFIX = "/api/v1"
IDEMPOTENCY_KEY = "Idempotency-Key"
"""Header that names a request: sent again, it is not carried out again."""

BUNDLE = "application/x-git-bundle"
"""Media type of a repository that is sent."""
PROGRESS, DONE, FAILED = "progress", "done", "failed"
"""Events of what takes minutes."""


class AcceptedTurn(BaseModel):
    """A turn that is on disk."""

    task: str
    turn: FollowUp


class Deleted(BaseModel):
    """What went with an environment."""

    secrets: list[str]
    """Names of the secrets."""
    snapshots: int


class NewToken(BaseModel):
    """A token, and the text that its holder sends. It is not kept, and cannot be had again."""

    token: str
    about: Token


class NewWebhook(BaseModel):
    """A webhook, and what its messages are signed with. That is shown this once."""

    secret: str
    about: Webhook


class ReceiverShape(BaseModel):
    """One device or address that is told of tasks. Where it is, is not shown."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    kind: ReceiverKind
    label: str
    occasions: list[Occasion]
    everybody: bool
    """Whether it is told of everybody's tasks; else of its owner's alone."""
    created_at: datetime
    sent_at: datetime | None
    """When something was last taken there."""
    error: str
    """Why the last trial failed."""


class NewNotificationWebhook(BaseModel):
    """An address, and what its messages are signed with. That is shown this once."""

    secret: str
    about: ReceiverShape


def receiver_to_shape(receiver: Receiver) -> ReceiverShape:
    """Return what its owner sees of it."""
    names = ReceiverShape.model_fields
    return ReceiverShape.model_validate({name: getattr(receiver, name) for name in names})
