"""Who may do what, and who did."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from cloister.model.audit import AuditEntry, AuditFilter
from cloister.model.session import Session, SessionId
from cloister.model.token import Role, Token, TokenId
from cloister.model.user import Identity, User, UserId


class TokenStore(Protocol):
    """Tokens by the digest of what their holders send."""

    async def add(self, token: Token, digest: str) -> None:
        """Keep a new token; synced to disk when this returns."""
        ...

    async def find(self, digest: str) -> Token | None:
        """The token of that digest, valid or not."""
        ...

    async def get(self, token: TokenId) -> Token | None:
        """The token of that id, valid or not."""
        ...

    async def list(self) -> Sequence[Token]:
        """All, newest first."""
        ...

    async def revoke(self, token: TokenId, at: datetime) -> Token | None:
        """Revoke, synced, unless it was revoked before, and return it; None when there is none of that id."""
        ...

    async def mark_used(self, token: TokenId, at: datetime) -> None:
        """Remember when it was last used. Absent is not an error."""
        ...


class SessionStore(Protocol):
    """Sessions of browsers by the digest of what those send."""

    async def add(self, session: Session, digest: str) -> None:
        """Keep a new session."""
        ...

    async def find(self, digest: str) -> Session | None:
        """The session of that digest, valid or not."""
        ...

    async def get(self, session: SessionId) -> Session | None:
        """The session of that id, valid or not."""
        ...

    async def list(self) -> Sequence[Session]:
        """All, newest first, valid or not."""
        ...

    async def remove(self, session: SessionId) -> Session | None:
        """Forget it, synced, and return it; None when there is none of that id."""
        ...

    async def remove_expired(self, now: datetime) -> None:
        """Forget those that ended by then."""
        ...

    async def mark_used(self, session: SessionId, at: datetime) -> None:
        """Remember when it was last used. Absent is not an error."""
        ...


class AuditStore(Protocol):
    """Entries of the audit, which are only ever added to."""

    async def add(self, entry: AuditEntry) -> None:
        """Keep it; its number is given to it."""
        ...

    async def list(self, wanted: AuditFilter, *, limit: int, before: int | None = None) -> Sequence[AuditEntry]:
        """The newest that are wanted, newest first; only those with a number below `before`."""
        ...


class UserStore(Protocol):
    """People whom a provider knows, by issuer and subject."""

    async def note(self, issuer: str, subject: str, *, name: str, role: Role, at: datetime) -> User:
        """Remember a login of theirs, synced, and what they are called and may do since; return them."""
        ...

    async def get(self, user: UserId) -> User | None:
        """The user of that id, disabled or not."""
        ...

    async def list(self) -> Sequence[User]:
        """All, by name."""
        ...

    async def set_disabled(self, user: UserId, at: datetime | None) -> User | None:
        """Disable since then, or with None not any more; synced. None when there is none of that id."""
        ...


class IdentityProvider(Protocol):
    """Who says who somebody is. `state`, `nonce` and `verifier` are of one login, and of nobody else's."""

    async def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent to log in. UnreachableError; UnauthenticatedError for what is not to be believed."""
        ...

    async def identify(self, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Identity:
        """Whom the code that it came back with is about. Errors as above."""
        ...

    async def logout_url(self, *, back: str) -> str | None:
        """Where a browser is sent to log out there, and then comes `back`; None when it has no such place.

        Errors as above.
        """
        ...
