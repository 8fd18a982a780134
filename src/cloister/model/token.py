"""Tokens: who may call from elsewhere, and what they may do."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

TokenId = NewType("TokenId", str)

PREFIX = "clo_"
"""What every token begins with, so that scanners of secrets know one when they see it."""

_BYTES = 32


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    """See tasks, environments, images, agents, workers and names of secrets."""
    MEMBER = "member"
    """Give tasks, follow up on them, and cancel them."""
    ADMIN = "admin"
    """Keep environments, secrets, images, agents, snapshots, tokens and keys."""

    def includes(self, other: "Role") -> bool:
        """Whether it may do what `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token as it is kept: without the text that its holder has."""

    id: TokenId
    name: str
    """Whose, or what it is for."""
    role: Role
    created_at: datetime
    expires_at: datetime | None = None
    """None is never."""
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """To the minute."""

    def is_valid(self, now: datetime) -> bool:
        """Whether its holder is let in."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def new_token_text() -> str:
    """Return what a holder sends: 256 bits of chance, so that its digest needs no salt and no slow hash."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest_of(text: str) -> str:
    """Return what is kept of a token's text, and found again by: SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def new_token_id() -> TokenId:
    """Return a name for a token, to revoke it by."""
    return TokenId(secrets.token_hex(4))
