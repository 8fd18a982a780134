"""People whom a provider of OpenID Connect knows."""

from fastapi import APIRouter

from cloister.api.body import Body
from cloister.api.caller import Admin
from cloister.api.front import KnownAccess
from cloister.model.user import User, UserId

router = APIRouter(prefix="/users", tags=["users"])


class UserBody(Body):
    """What is to be of a user."""

    disabled: bool


@router.get("")
async def find(access: KnownAccess, _: Admin) -> list[User]:
    """Return everybody who has logged in by the provider, by name."""
    return list(await access.users.list())


@router.put("/{user}")
async def edit(user: str, body: UserBody, access: KnownAccess, _: Admin) -> User:
    """Let nobody in as a user any more, which ends their sessions at once; or do again."""
    return await access.users.set_disabled(UserId(user), disabled=body.disabled)
