"""What both ends of the API say: a client needs nothing of the server's framework to know it."""

from pydantic import BaseModel

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
