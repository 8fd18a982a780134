"""Tokens: for callers from elsewhere."""

from fastapi import APIRouter, status
from pydantic import Field

from cloister.api.body import Body
from cloister.api.caller import Admin
from cloister.api.front import KnownTokens
from cloister.api.wire import NewToken
from cloister.model.token import Role, Token

router = APIRouter(prefix="/tokens", tags=["tokens"])


class NewTokenBody(Body):
    """A token that is wanted."""

    name: str
    """Whose, or what it is for."""
    role: Role = Role.MEMBER
    lifetime_seconds: float | None = Field(default=None, gt=0, le=10 * 366 * 24 * 3600)
    """Null is for ever."""


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: NewTokenBody, tokens: KnownTokens, _: Admin) -> NewToken:
    """Make a token."""
    about, text = await tokens.create(body.name, body.role, lifetime_seconds=body.lifetime_seconds)
    return NewToken(token=text, about=about)


@router.get("")
async def find(tokens: KnownTokens, _: Admin) -> list[Token]:
    """Return all tokens, newest first, also those that nobody is let in with any more."""
    return list(await tokens.list())


@router.delete("/{token}")
async def revoke(token: str, tokens: KnownTokens, _: Admin) -> Token:
    """Let nobody in with a token any more. Harmless twice."""
    return await tokens.revoke(token)
