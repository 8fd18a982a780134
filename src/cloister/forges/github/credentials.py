"""What Cloister logs in to GitHub with. It stays on the host; a task's token is short-lived, and for one repository."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gidgethub import BadRequest, RedirectionException

from cloister.errors import NotFoundError, UsageError
from cloister.forges.github.client import GitHubClient, in_our_words
from cloister.model.secret import SecretValue
from cloister.protocols import Vault

LOGIN_PLACE = "\x01github"
"""Where the vault keeps what follows: no environment can be called so."""
TOKEN, APP_KEY, WEBHOOK_SECRET = "TOKEN", "APP_KEY", "WEBHOOK_SECRET"
READ: Mapping[str, str] = {"contents": "read", "metadata": "read"}
READ_PULLS: Mapping[str, str] = {"pull_requests": "read", "metadata": "read"}
WRITE: Mapping[str, str] = {"contents": "write", "pull_requests": "write", "metadata": "read"}
WITH_WORKFLOWS: Mapping[str, str] = {**WRITE, "workflows": "write"}

TALK: Mapping[str, str] = {"issues": "write", "pull_requests": "write", "metadata": "read"}

_TOKEN = re.compile(r"[A-Za-z0-9_]{20,255}")
_EARLY = timedelta(minutes=10)
"""A token is renewed that long before its end, so that none ends in the middle of a clone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginSource:
    """Where the settings say the login is."""

    app: int | None = None
    """Number of the GitHub App; None where a personal token is used."""
    key_file: Path | None = None
    token_file: Path | None = None
    names_webhook_secret: bool = False
    """Whether the settings have what the webhook signs with, so that the vault is not asked."""


class Credentials:
    """Tokens for repositories."""

    def __init__(self, client: GitHubClient, vault: Vault, source: LoginSource) -> None:
        self._client = client
        self._vault = vault
        self._source = source
        self._installations: dict[str, int] = {}
        self._renamed: set[str] = set()
        """Former names of repositories: no token can be had for one, so what they are called now is asked for all."""
        client.on_refused = self.forget
        self._tokens: dict[tuple[str, tuple[str, ...]], tuple[SecretValue, datetime]] = {}

    @property
    def app(self) -> int | None:
        """Number of the app; None where a personal token is used."""
        return self._source.app

    async def find(self) -> SecretValue | None:
        """Return the personal token, or the app's private key; None when there is none."""
        file = self._source.key_file if self.app is not None else self._source.token_file
        if file is not None:
            return _read(file)
        return await self._vault.find(LOGIN_PLACE, APP_KEY if self.app is not None else TOKEN)

    async def keep(self, kind: str, value: str) -> None:
        """Seal a `token`, or an app's `key`. UsageError for what the settings do not ask for, or what cannot be one."""
        wanted = "token" if self.app is None else "key"
        if kind != wanted:
            by = "no GitHub App is named in" if self.app is None else f"GitHub App {self.app} is named in"
            raise UsageError(
                f"{by} the settings, so Cloister logs in by {wanted}", hint=f"cloister github set-{wanted}"
            )
        self.check_vault_is_used()
        if self.app is not None:
            _sign(self.app, SecretValue(value))
        elif not _TOKEN.fullmatch(value):
            raise UsageError("a token for GitHub is one word of letters, digits and _, such as ghp_...")
        await self._vault.set(LOGIN_PLACE, TOKEN if self.app is None else APP_KEY, value)
        self._tokens.clear()

    def check_vault_is_used(self) -> None:
        """Raise UsageError when the settings name a file instead."""
        if self._source.key_file or self._source.token_file:
            raise UsageError("the settings name a file with Cloister's login, so the vault's would never be used")

    async def keep_app(self, app: int, key: str, webhook_secret: str | None) -> None:
        """Seal what a new app logs in with, and what its webhook signs with. UsageError for what is no key."""
        _sign(app, SecretValue(key))
        await self._vault.set(LOGIN_PLACE, APP_KEY, key)
        if webhook_secret:
            await self._vault.set(LOGIN_PLACE, WEBHOOK_SECRET, webhook_secret)
        self.forget()

    async def has_webhook_secret(self) -> bool:
        """Whether it is known what the app's webhook signs with."""
        if self._source.names_webhook_secret:
            return True
        return await self._vault.find(LOGIN_PLACE, WEBHOOK_SECRET) is not None

    async def jwt(self) -> str:
        """Return what an app itself logs in with, for some minutes. UsageError without a key, or with a wrong one."""
        assert self.app is not None
        return _sign(self.app, await self._get())

    async def token_for(self, name: str, permissions: Mapping[str, str] = READ) -> SecretValue | None:
        """Return a token for the repository `owner/name`, with these permissions alone where that can be had.

        None when the app is not installed there. UsageError without a login.
        """
        if self.app is None:
            return await self._get()
        wanted = (name.lower(), tuple(sorted(f"{key}={value}" for key, value in permissions.items())))
        kept = self._tokens.get(wanted)
        if kept is not None and kept[1] - datetime.now(UTC) > _EARLY:
            return kept[0]
        self._tokens.pop(wanted, None)
        installation = await self._installation(name)
        if installation is None:
            return None
        token = await self._make(installation, name, permissions)
        self._tokens[wanted] = token
        return token[0]

    async def installation_token(self, installation: int) -> SecretValue:
        """Return a token that reads whatever that installation may."""
        return (await self._make(installation, None, {"metadata": "read"}))[0]

    async def installations(self) -> list[int]:
        """Return those of the app."""
        token = await self.jwt()
        async with in_our_words("app"):
            found = self._client.getiter("/app/installations?per_page=100", jwt=token)
            return [it["id"] async for it in found if it.get("suspended_at") is None]

    def forget(self) -> None:
        """Ask anew next time: what was known is refused."""
        self._installations.clear()
        self._renamed.clear()
        self._tokens.clear()

    async def _installation(self, name: str) -> int | None:
        if name.lower() not in self._installations:
            try:
                found = await self._find_installation(name)
            except BadRequest as error:
                if int(error.status_code) == 404:
                    return None
                async with in_our_words(name):
                    raise
            self._installations[name.lower()] = found["id"]
        return self._installations[name.lower()]

    async def _find_installation(self, name: str) -> Mapping[str, Any]:
        path, token = f"/repos/{name}/installation", await self.jwt()
        try:
            found: Mapping[str, Any] = await self._client.getitem(path, jwt=token)
        except RedirectionException as error:
            found = await self._client.getitem(self._client.redirected(error), jwt=token)
            self._renamed.add(name.lower())
        return found

    async def _make(
        self, installation: int, name: str | None, permissions: Mapping[str, str]
    ) -> tuple[SecretValue, datetime]:
        alone = name if name is not None and name.lower() not in self._renamed else None
        repositories = {} if alone is None else {"repositories": [alone.partition("/")[2]]}
        async with in_our_words(f"token for {name or 'the app'}"):
            made = await self._client.post(
                f"/app/installations/{installation}/access_tokens",
                data={**repositories, "permissions": dict(permissions)},
                jwt=await self.jwt(),
            )
        return SecretValue(made["token"]), datetime.fromisoformat(made["expires_at"])

    async def _get(self) -> SecretValue:
        found = await self.find()
        if found is None:
            what = f"private key of GitHub App {self.app}" if self.app is not None else "token for GitHub"
            command = "set-key < key.pem" if self.app is not None else "set-token < token"
            raise NotFoundError(f"Cloister has no {what}", hint=f"give it one: cloister github {command}")
        return found


def _sign(app: int, key: SecretValue) -> str:
    from gidgethub.apps import get_jwt  # takes a while to load, and apps alone need it
    from jwt import PyJWTError

    try:
        return get_jwt(app_id=str(app), private_key=key.reveal(), expiration=540)
    except (ValueError, TypeError, PyJWTError) as error:
        raise UsageError(
            f"the private key of GitHub App {app} cannot be read: it is no RSA key as PEM",
            hint="make one on the app's page, and give it: cloister github set-key < key.pem",
        ) from error


def _read(path: Path) -> SecretValue:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}, which shall have Cloister's login at GitHub, cannot be read: {error}") from error
    if mode & 0o007:
        raise UsageError(
            f"everyone on this machine may use {path}, Cloister's login at GitHub", hint=f"chmod o= {path}"
        )
    return SecretValue(text)
