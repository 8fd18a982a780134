"""Who calls, and what they may do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from cloister.errors import DeniedError
from cloister.model.fairness import OWNER as OWNER_NAME
from cloister.model.session import SessionId
from cloister.model.token import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls."""

    name: str
    role: Role
    on_this_machine: bool = False
    """Whether they own the state directory: then paths that they name are theirs to name."""
    by: str = "owner"
    """What let them in, and nobody else: `token ID`, `session ID`, or that they own the state directory."""
    session: SessionId | None = None
    """The one of their browser."""
    page_key: str | None = None
    """What changes of that session's pages have to be sent with."""


OWNER = Caller(name=OWNER_NAME, role=Role.ADMIN, on_this_machine=True)
"""Of the state directory: whoever reaches its socket, or runs the application itself."""

Authenticate = Callable[[HTTPConnection], Awaitable[Caller]]
"""Finds out who calls. CloisterError when it cannot."""


async def authenticate_owner(_: HTTPConnection) -> Caller:
    """Only the owner can reach what this is the authentication of."""
    return OWNER


def requires(role: Role) -> Callable[[Request], Awaitable[Caller]]:
    """Return the dependency that lets in who has that role, and returns them. DeniedError."""

    async def check(request: Request) -> Caller:
        caller: Caller = request.state.caller
        if not caller.role.includes(role):
            raise DeniedError(f"{caller.name} is a {caller.role}; this takes a role of {role}")
        return caller

    check.__dict__["role"] = role
    return check


Viewer = Annotated[Caller, Depends(requires(Role.VIEWER))]
Member = Annotated[Caller, Depends(requires(Role.MEMBER))]
Admin = Annotated[Caller, Depends(requires(Role.ADMIN))]
