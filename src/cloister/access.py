"""The part of the front door that knows who calls."""

from dataclasses import dataclass

from cloister.audit import Audit
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
