"""The part of the front door that knows who calls."""

from dataclasses import dataclass

from cloister.audit import Audit
from cloister.model.session import SessionId
from cloister.model.token import TokenId
from cloister.protocols import IdentityProvider
from cloister.sessions import Sessions
from cloister.tokens import Tokens
from cloister.users import Users


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Everything by which somebody is let in from elsewhere."""

    tokens: Tokens
    sessions: Sessions
    audit: Audit
    users: Users
    provider: IdentityProvider | None = None
    """Of OpenID Connect."""
    public_url: str | None = None
    """Origin at which people reach the server, such as `https://cloister.example`; None: the one that they name."""

    async def lets_in(self, by: str) -> bool:
        """Whether what let a caller in (see `Caller.by`) would do so now. It is not noted as a use."""
        means, _, id = by.partition(" ")
        match means:
            case "token":
                token = await self.tokens.store.get(TokenId(id))
                return token is not None and token.is_valid(self.tokens.now())
            case "session":
                return await self.sessions.is_open(SessionId(id))
            case _:
                return True

    async def holder_of(self, by: str) -> str | None:
        """Return whose what let a caller in (see `Caller.by`) is, the same for each of their browsers.

        `token ID`, `user ID` or `owner`; None for a session that is over.
        """
        means, _, id = by.partition(" ")
        if means != "session":
            return by
        session = await self.sessions.store.get(SessionId(id))
        return None if session is None else session.holder
