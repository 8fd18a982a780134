"""Sessions of browsers: begun with a token or by a provider, known again by a cookie, and ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloister.errors import NotFoundError, UnauthenticatedError
from cloister.model.session import Session, SessionId, is_session_text, new_session_id, new_session_text
from cloister.model.token import Role, Token, TokenId, digest_of
from cloister.model.user import User, UserId
from cloister.protocols import SessionStore
from cloister.tokens import Tokens
from cloister.users import Users

_USE_IS_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Whom a session lets in."""

    session: Session
    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """The part of the front door that knows browsers."""

    store: SessionStore
    tokens: Tokens
    users: Users
    lifetime: timedelta
    """After which somebody logs in again, whatever they did meanwhile."""
    idle: timedelta
    """After which a session that nobody used is over."""
    now: Callable[[], datetime]
    """Aware, UTC."""

    async def log_in(self, token: str, address: str) -> tuple[Session, str]:
        """Begin a session for the holder of a token's text; return it with its own, which is not kept.

        UnauthenticatedError.
        """
        return await self._begin(address, token=(await self.tokens.authenticate(token)).id)

    async def log_in_user(self, user: User, address: str) -> tuple[Session, str]:
        """Begin a session for somebody whom a provider knows, as `log_in` does."""
        return await self._begin(address, user=user.id)

    async def authenticate(self, text: str) -> Known:
        """Return whom a session of that text lets in, by what its token or user may do now. UnauthenticatedError.

        That is looked at each time: with a token that is revoked or expired, or a user who is disabled, it is over.
        """
        now = self.now()
        session = await self.store.find(digest_of(text)) if is_session_text(text) else None
        if session is None or not session.is_valid(now, self.idle):
            raise _over()
        holder = await self._holder_of(session, now)
        if holder is None:
            raise _over()
        if now - session.last_used_at >= _USE_IS_NOTED_EVERY:
            await self.store.mark_used(session.id, now)
        return Known(session=session, name=holder.name, role=holder.role)

    async def is_open(self, session: SessionId) -> bool:
        """Whether it lets somebody in. It is not noted as a use."""
        now = self.now()
        found = await self.store.get(session)
        return found is not None and found.is_valid(now, self.idle) and await self._holder_of(found, now) is not None

    async def list(self) -> Sequence[Session]:
        """Those that let somebody in, newest first."""
        now = self.now()
        valid = [session for session in await self.store.list() if session.is_valid(now, self.idle)]
        tokens = {token.id for token in await self.tokens.list() if token.is_valid(now)}
        users = {user.id for user in await self.users.list() if user.disabled_at is None}
        return [session for session in valid if session.token in tokens or session.user in users]

    async def end(self, session: SessionId) -> Session:
        """Let nobody in with it any more, and forget it. NotFoundError."""
        if (found := await self.store.remove(session)) is None:
            raise NotFoundError(f"there is no session {session!r}")
        return found

    async def _begin(
        self, address: str, *, token: TokenId | None = None, user: UserId | None = None
    ) -> tuple[Session, str]:
        now = self.now()
        session = Session(
            id=new_session_id(),
            token=token,
            user=user,
            address=address,
            created_at=now,
            expires_at=now + self.lifetime,
            last_used_at=now,
        )
        text = new_session_text()
        await self.store.remove_expired(now)
        await self.store.add(session, digest_of(text))
        return session, text

    async def _holder_of(self, session: Session, now: datetime) -> Token | User | None:
        """Return whose it is; None when they are not let in any more."""
        if session.user is not None:
            user = await self.users.store.get(session.user)
            return user if user is not None and user.disabled_at is None else None
        token = None if session.token is None else await self.tokens.store.get(session.token)
        return token if token is not None and token.is_valid(now) else None


def _over() -> UnauthenticatedError:
    return UnauthenticatedError("this session is over", hint="log in again")
