"""Who is known to the forge, by what they send, and which repositories there are."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jwt

from cloister.testing.github.hosted import AppOnForge, Caller, Hosted, make_repository

FULL = {
    **dict.fromkeys(("contents", "pull_requests", "issues", "checks"), "write"),
    **dict.fromkeys(("actions", "metadata"), "read"),
}
"""Permissions that Cloister asks for."""


class Accounts:
    """Tokens, apps and repositories."""

    def __init__(self, directory: Path) -> None:
        self.repositories: list[Hosted] = []
        self.apps: list[AppOnForge] = []
        self.uninstalled: set[int] = set()
        """Ids of apps that were taken away."""
        self.deliveries: dict[int, list[int]] = {}
        """Of apps by their ids: what their webhooks were answered with, the newest first."""
        self._directory = directory
        self._tokens: dict[str, tuple[Caller, datetime | None]] = {}
        self._moved: dict[str, str] = {}

    def add(
        self, full_name: str, *, private: bool = True, writers: Sequence[str] = (), protected: Sequence[str] = ("main",)
    ) -> Hosted:
        """Make an empty repository."""
        number = len(self.repositories) + 1
        path = self._directory / f"{number}.git"
        made = make_repository(
            path, number=number, full_name=full_name, private=private, writers=writers, protected=protected
        )
        self.repositories.append(made)
        return made

    def rename(self, repository: Hosted, full_name: str) -> None:
        """Give it another name; the former one leads there."""
        self._moved[repository.full_name.lower()] = full_name
        former, (repository.owner, repository.name) = repository.name, full_name.split("/")
        for token, (caller, ends) in self._tokens.items():  # a token is for a repository, whatever that is called
            if caller.only is not None and former in caller.only:
                only = caller.only - {former} | {repository.name}
                self._tokens[token] = (replace(caller, only=only), ends)

    def find(self, full_name: str) -> Hosted | None:
        """Return a repository by the name that it has now."""
        return next((it for it in self.repositories if it.full_name.lower() == full_name.lower()), None)

    def find_moved(self, full_name: str) -> Hosted | None:
        """Return the repository that once had that name."""
        to = self._moved.get(full_name.lower())
        return None if to is None else self.find(to) or self.find_moved(to)

    def add_token(self, token: str, login: str, *, workflows: bool = True) -> None:
        """Let a person in."""
        self._tokens[token] = (Caller(login=login, workflows=workflows), None)

    def add_installation_token(
        self, token: str, app: AppOnForge, expires_at: datetime, only: frozenset[str] | None = None
    ) -> None:
        """Let an app's installation in for a while, to some of its repositories or all."""
        may_change_workflows = app.permissions.get("workflows") == "write"
        caller = Caller(login=f"{app.slug}[bot]", app=app, workflows=may_change_workflows, only=only)
        self._tokens[token] = (caller, expires_at)

    def expire_tokens(self) -> None:
        """Let every token of an installation be too old."""
        self._tokens = {token: it for token, it in self._tokens.items() if it[1] is None}

    def installed(self, app: AppOnForge) -> list[AppOnForge]:
        """Return the app, as long as it is installed."""
        return [] if app.id in self.uninstalled else [app]

    def caller_of(self, token: str | None) -> Caller | None:
        """Return whose token that is."""
        caller, expires_at = self._tokens.get(token or "", (None, None))
        if caller is None or (expires_at is not None and expires_at <= datetime.now(UTC)):
            return None
        return None if caller.app is not None and caller.app.id in self.uninstalled else caller

    def app_of(self, token: str) -> AppOnForge | None:
        """Return the app whose key signed that JSON Web Token, which lives ten minutes at most."""
        for app in self.apps:
            try:
                claims = jwt.decode(
                    token, app.public_key, algorithms=["RS256"], options={"require": ["exp", "iat", "iss"]}
                )
            except jwt.InvalidTokenError:
                continue
            if claims["iss"] == str(app.id) and claims["exp"] - claims["iat"] <= 600:
                return app
        return None
