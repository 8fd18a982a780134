"""Sessions of browsers: what somebody has who has logged in, until they log out."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NewType

from cloister.model.token import TokenId
from cloister.model.user import UserId

SessionId = NewType("SessionId", str)

_PREFIX = "cls_"
"""Not what tokens begin with: neither is ever taken for the other."""
_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A session as it is kept: without the text in its browser's cookie."""

    id: SessionId
    token: TokenId | None
    """What it was begun with; what that may do, it may do, for as long as that is valid."""
    user: UserId | None = None
    """Who began it in place of a token."""
    address: str
    """From where it was begun."""
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime
    """To the minute."""

    @property
    def holder(self) -> str:
        """Whose it is: `token ID` or `user ID`."""
        return f"token {self.token}" if self.user is None else f"user {self.user}"

    def is_valid(self, now: datetime, idle: timedelta) -> bool:
        """Whether it lets its browser in, as far as it alone says."""
        return now < self.expires_at and now - self.last_used_at < idle


def new_session_id() -> SessionId:
    """Return a name for a session, to end it by."""
    return SessionId(secrets.token_hex(6))


def new_session_text() -> str:
    """Return what a browser sends: 256 bits of chance."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def is_session_text(text: str) -> bool:
    """Whether it has the form of one."""
    return text.startswith(_PREFIX)


def page_key_of(text: str) -> str:
    """Return what pages of a session say with each change that they ask for; its text cannot be found out from it."""
    return hmac.new(text.encode(errors="surrogatepass"), b"cloister page key", hashlib.sha256).hexdigest()
