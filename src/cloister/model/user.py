"""People whom a provider of OpenID Connect knows, and what they may do here."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from cloister.model.token import Role

UserId = NewType("UserId", str)

ANYBODY = "*"
"""In rules: whoever the provider knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who somebody is, as a provider signed it."""

    issuer: str
    subject: str
    """Theirs at this provider, for ever; names change hands."""
    name: str
    groups: tuple[str, ...]
    """Values of the claim that roles go by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who has logged in by a provider."""

    id: UserId
    issuer: str
    subject: str
    name: str
    role: Role
    """By what the provider said when they logged in last."""
    created_at: datetime
    last_login_at: datetime
    disabled_at: datetime | None = None
    """Since when nobody is let in as them."""


def role_of(groups: Sequence[str], rules: Mapping[Role, Sequence[str]]) -> Role | None:
    """Return the highest role that rules give to somebody of these groups; None when they give none."""
    held = {*groups, ANYBODY}
    roles = [role for role in Role if held & set(rules.get(role, ()))]
    return roles[-1] if roles else None


def new_user_id() -> UserId:
    """Return a name for a user, to disable them by."""
    return UserId(secrets.token_hex(4))
