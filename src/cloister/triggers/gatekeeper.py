"""Who may ask for work at a forge: people who may write there, in repositories that were allowed, and no programs."""

import time
from dataclasses import dataclass, field

from cloister.errors import DeniedError
from cloister.model.repository_pattern import is_named_by
from cloister.model.task import Repository
from cloister.model.thread import Permission
from cloister.protocols import ForgeHost, ForgeThreads
from cloister.repository_address import parse_repository

KNOWN_SECONDS = 60.0
"""For so long a permission is believed that the forge told of."""
_MOST_KNOWN = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRules:
    """What the settings say about who asks for work, and how."""

    url: str
    """Of the forge."""
    mention: str | None = None
    """What is to be mentioned; None is the login that Cloister has there."""
    repositories: tuple[str, ...] | None = None
    """See `parse_repository_pattern`; None: wherever Cloister's login may push."""
    least: Permission = Permission.WRITE
    own_login: bool = False
    """Whether what Cloister's own login writes counts, when a person shares it."""
    label: str | None = None
    assign: bool = False
    draft: bool = False
    per_person: int = 20
    """Tasks an hour."""
    per_repository: int = 60
    review_all: bool = False
    """Whether every pull request is reviewed, whatever its environment says."""
    fix_checks: int = 0
    """How often checks that failed may start a follow-up, for one pull request of Cloister's own."""
    environment: str | None = None
    """Name of a stored environment; None: as `--repo` alone would have it."""


@dataclass(slots=True, kw_only=True)
class Gatekeeper:
    """Lets people in."""

    host: ForgeHost
    threads: ForgeThreads
    rules: TriggerRules
    _known: dict[tuple[str, str], tuple[Permission, float]] = field(default_factory=dict, init=False)

    async def let_in(self, repository: str, login: str, *, is_bot: bool) -> Repository:
        """Return the repository `owner/name`, for somebody who may ask for work there.

        DeniedError for a repository that is not allowed, for a program, for Cloister itself, and for who has not the
        permission; NotFoundError where Cloister's login is not let in.
        """
        if not is_named_by(repository, self.rules.repositories):
            raise DeniedError(f"{repository} is not among the repositories of the settings (github.repositories)")
        if is_bot:
            raise DeniedError(f"{login} is a program, and programs ask for nothing here")
        if not self.rules.own_login and login.lower() == (await self.threads.own_login()).lower():
            raise DeniedError(f"{login} is Cloister's own login")
        found = parse_repository(f"{self.rules.url}/{repository}")
        if not (await self.host.describe(found)).may_push:
            raise DeniedError(f"Cloister's login may not push to {repository}")
        permission = await self.permission(found, login)
        if permission < self.rules.least:
            raise DeniedError(
                f"{login} may not ask for work in {repository}: that takes the permission to "
                f"{self.rules.least.name.lower()}, and theirs is {permission.name.lower()}"
            )
        return found

    async def permission(self, repository: Repository, login: str) -> Permission:
        """Ask the forge, or remember for a minute."""
        key = (repository.address.lower(), login.lower())
        known = self._known.get(key)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        permission = await self.threads.permission(repository, login)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[key] = (permission, time.monotonic() + KNOWN_SECONDS)
        return permission
