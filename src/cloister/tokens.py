"""Tokens: made, shown once, known again, and revoked."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cloister.errors import NotFoundError, UnauthenticatedError, UsageError
from cloister.model.token import PREFIX, Role, Token, TokenId, digest_of, new_token_id, new_token_text
from cloister.protocols import TokenStore

_NAME = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,100}")
_USE_IS_NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The part of the front door that knows who calls from elsewhere."""

    store: TokenStore
    now: Callable[[], datetime]
    """Aware, UTC."""

    async def create(self, name: str, role: Role, *, lifetime_seconds: float | None = None) -> tuple[Token, str]:
        """Make a token, and return it with its text, which is not kept and cannot be had again. UsageError."""
        if not _NAME.fullmatch(name):
            raise UsageError("a token's name has 1 to 100 characters on one line")
        now = self.now()
        expires_at = None if lifetime_seconds is None else now + timedelta(seconds=lifetime_seconds)
        token = Token(id=new_token_id(), name=name, role=role, created_at=now, expires_at=expires_at)
        text = new_token_text()
        await self.store.add(token, digest_of(text))
        return token, text

    async def list(self) -> Sequence[Token]:
        """All tokens, newest first, also those that nobody is let in with any more."""
        return await self.store.list()

    async def revoke(self, token: str) -> Token:
        """Let nobody in with it any more, and return it. Harmless twice. NotFoundError."""
        found = await self.store.revoke(TokenId(token), self.now())
        if found is None:
            raise NotFoundError(f"there is no token {token!r}", hint="see: cloister token list")
        return found

    async def authenticate(self, text: str) -> Token:
        """Return the token of that text. UnauthenticatedError, which does not say more than it must."""
        now = self.now()
        token = await self.store.find(digest_of(text)) if text.startswith(PREFIX) else None
        if token is None or not token.is_valid(now):
            raise UnauthenticatedError("this token lets nobody in", hint="make one: cloister token create NAME")
        if token.last_used_at is None or now - token.last_used_at >= _USE_IS_NOTED_EVERY:
            await self.store.mark_used(token.id, now)
        return token
