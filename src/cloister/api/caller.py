"""Who calls, and what they may do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from fastapi import Depends, Request

from cloister.errors import DeniedError


class Role(IntEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = 1
    """See tasks and environments."""
    MEMBER = 2
    """Give tasks, and cancel them."""
    ADMIN = 3
    """Keep environments, secrets, snapshots and keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls."""

    name: str
    role: Role
    on_this_machine: bool = False
    """Whether they own the state directory: then paths that they name are theirs to name."""


OWNER = Caller(name="owner", role=Role.ADMIN, on_this_machine=True)
"""Of the state directory: whoever reaches its socket, or runs the application itself."""

Authenticate = Callable[[Request], Awaitable[Caller]]
"""Finds out who calls. DeniedError when it cannot."""


async def authenticate_owner(_: Request) -> Caller:
    """Only the owner can reach what this is the authentication of."""
    return OWNER


def requires(role: Role) -> Callable[[Request], Awaitable[Caller]]:
    """Return the dependency that lets in who has that role, and returns them. DeniedError."""

    async def check(request: Request) -> Caller:
        authenticate: Authenticate = request.app.state.authenticate
        caller = await authenticate(request)
        if caller.role < role:
            raise DeniedError(f"{caller.name} is a {caller.role.name.lower()}; this takes a {role.name.lower()}")
        return caller

    check.__dict__["role"] = role
    return check


Viewer = Annotated[Caller, Depends(requires(Role.VIEWER))]
Member = Annotated[Caller, Depends(requires(Role.MEMBER))]
Admin = Annotated[Caller, Depends(requires(Role.ADMIN))]
