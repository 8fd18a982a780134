"""People whom a provider knows: let in by what it says of them, listed, and shut out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloister.errors import DeniedError, NotFoundError
from cloister.model.token import Role
from cloister.model.user import Identity, User, UserId, role_of
from cloister.protocols import UserStore

_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The part of the front door that knows people."""

    store: UserStore
    rules: Mapping[Role, Sequence[str]]
    """Which of the provider's groups have which role."""
    now: Callable[[], datetime]
    """Aware, UTC."""

    async def admit(self, identity: Identity) -> User:
        """Return who that is here, with their role of now. DeniedError when they have none, or are disabled."""
        name = "".join(letter if letter.isprintable() else "?" for letter in identity.name)[:_LONGEST_NAME]
        role = role_of(identity.groups, self.rules)
        if role is None:
            raise DeniedError(f"{name} has no role here", hint="settings give roles to groups: oidc.admins, ...")
        user = await self.store.note(identity.issuer, identity.subject, name=name, role=role, at=self.now())
        if user.disabled_at is not None:
            raise DeniedError(f"{name} is disabled here")
        return user

    async def list(self) -> Sequence[User]:
        """Everybody who has logged in, by name."""
        return await self.store.list()

    async def set_disabled(self, user: UserId, *, disabled: bool) -> User:
        """Let nobody in as them any more, which ends their sessions; or do again. NotFoundError."""
        found = await self.store.set_disabled(user, self.now() if disabled else None)
        if found is None:
            raise NotFoundError(f"there is no user {user!r}", hint="see: cloister user list")
        return found
