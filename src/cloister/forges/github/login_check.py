"""Looks at what Cloister logs in to GitHub with, and says what is missing, by name."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gidgethub import BadRequest

from cloister.errors import CloisterError, RepositoryError, UsageError
from cloister.forges.github.app import EVENTS, lacking
from cloister.forges.github.client import GitHubClient, in_our_words
from cloister.forges.github.credentials import Credentials
from cloister.model.forge import ForgeLogin, ForgeRepository, Person

MOST_SKEW_SECONDS = 30.0
"""An app's login is good from a minute before it is made, for ten minutes, by GitHub's clock."""
_MANY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginCheck:
    """What there is to look at."""

    url: str
    client: GitHubClient
    credentials: Credentials
    author: Callable[[], Awaitable[Person]]
    repositories: Callable[[], Awaitable[Sequence[ForgeRepository]]]
    webhook: str | None
    """Where GitHub shall reach this server; None where nothing says how it is reached."""

    async def run(self) -> ForgeLogin:
        """Ask GitHub. What works is told beside what does not."""
        kind = "app" if self.credentials.app is not None else "token"
        try:
            if await self.credentials.find() is None:
                await self.credentials.token_for("x/x")
            app = await self._app() if kind == "app" else {}
            is_installed = kind == "token" or bool(await self.credentials.installations())
            name = (await self.author()).name if is_installed else str(app["slug"])
            repositories = await self.repositories() if is_installed else ()
        except (UsageError, RepositoryError) as error:
            return self._broken(kind, self._with_hint(error))
        permissions: Mapping[str, str] = app.get("permissions", {})
        seen = _of_repositories(repositories) if is_installed else [f"the app is installed nowhere: {_install(app)}"]
        missing = [*self._of_app(app), *seen, *self._of_clock()]
        notes = await self._of_webhook(app) if kind == "app" else ()
        return ForgeLogin(
            address=self.url,
            kind=kind,
            name=name,
            missing=tuple(missing),
            permissions=permissions,
            repositories=len(repositories),
            notes=tuple(notes),
        )

    def _broken(self, kind: str, said: str) -> ForgeLogin:
        return ForgeLogin(address=self.url, kind=kind, missing=(said, *self._of_clock()))

    async def _app(self) -> Mapping[str, Any]:
        async with in_our_words("app"):
            app: Mapping[str, Any] = await self.client.getitem("/app", jwt=await self.credentials.jwt())
        return app

    def _of_app(self, app: Mapping[str, Any]) -> Sequence[str]:
        if not app:
            return ()
        return [f"the app has no permission {key}: {value}" for key, value in lacking(app["permissions"])]

    def _of_clock(self) -> Sequence[str]:
        ahead = self.client.ahead_seconds
        if ahead is None or abs(ahead) <= MOST_SKEW_SECONDS:
            return ()
        way = "ahead of" if ahead > 0 else "behind"
        return [f"this machine's clock is {abs(ahead):.0f} s {way} GitHub's, which may refuse an app's login for that"]

    async def _of_webhook(self, app: Mapping[str, Any]) -> Sequence[str]:
        """Say why GitHub's own messages, such as mentions, would not arrive; nothing when they do."""
        try:
            config = await self.client.getitem("/app/hook/config", jwt=await self.credentials.jwt())
        except BadRequest:
            config = {}
        if not config.get("url"):
            return ["the app has no webhook: mentions and reviews on demand need one"]
        events = app.get("events", ())
        notes = [f"the app's webhook is not told of {event}" for event in EVENTS if event not in events]
        if not config.get("secret"):
            notes.append("the app's webhook has no secret, so nobody could tell who sends")
        if not await self.credentials.has_webhook_secret():
            notes.append("Cloister does not know the secret of the app's webhook, and refuses what it sends")
        if self.webhook is None:
            notes.append("the settings do not say how this server is reached (public_url)")
        elif config["url"] != self.webhook:
            notes.append(f"the app's webhook sends to {config['url']}, and this server is at {self.webhook}")
        if str(config.get("insecure_ssl", "0")) != "0":
            notes.append("the app's webhook sends to whoever answers: it checks no certificate")
        return [*notes, *await self._of_deliveries()]

    async def _of_deliveries(self) -> Sequence[str]:
        try:
            async with in_our_words("deliveries"):
                path = f"/app/hook/deliveries?per_page={_MANY}"
                sent = await self.client.getitem(path, jwt=await self.credentials.jwt())
        except CloisterError as error:
            return [f"what the webhook sent is not known: {error}"]
        if not sent or sent[0]["status_code"] in range(200, 300):
            return ()
        last = sent[0]
        if last["status_code"] == 0:
            return [f"GitHub does not reach this server: {last['status']}"]
        return [f"this server answered GitHub's last message with {last['status_code']}"]

    def _with_hint(self, error: CloisterError) -> str:
        return f"{error}; {error.hint}" if error.hint else str(error)


def _install(app: Mapping[str, Any]) -> str:
    return f"{app['html_url']}/installations/new"


def _of_repositories(repositories: Sequence[ForgeRepository]) -> Sequence[str]:
    if not repositories:
        return ["its login sees no repository"]
    if not any(it.may_push for it in repositories):
        return ["its login may push to no repository, so it can open no pull request"]
    return ()
