"""`@NAME ...` in an issue, a pull request or a review starts a task, or a command of its own."""

from dataclasses import dataclass

from cloister.model.inbox import Arrived
from cloister.protocols import ForgeThreads
from cloister.triggers.gatekeeper import Gatekeeper
from cloister.triggers.handling import Handled
from cloister.triggers.payloads import IssueCommentPayload, read_payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Mentions:
    """A `Handler`."""

    gatekeeper: Gatekeeper
    threads: ForgeThreads
    kinds: frozenset[str] = frozenset({"issue_comment"})

    async def handle(self, arrived: Arrived) -> Handled | None:
        """See `handling.Handler`."""
        payload = read_payload(IssueCommentPayload, arrived)
        sender = payload.sender
        await self.gatekeeper.let_in(payload.repository.full_name, sender.login, is_bot=sender.is_bot)
        return None
