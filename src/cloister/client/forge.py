"""What is asked of the forge: logins, pull requests and reviews."""

from collections.abc import Sequence
from dataclasses import asdict

from cloister.api.requests import review_to_fields
from cloister.client.connection import Connection, new_key, path_part, read_as, read_status
from cloister.model.forge import AppManifest, ForgeBranch, ForgeLogin, ForgeRepository, MadeApp
from cloister.model.inbox import ForgeDelivery
from cloister.model.publication import Publication, Published, PublishOptions
from cloister.model.request import ReviewRequest
from cloister.model.review import KnownReview, Posting
from cloister.model.task import Task


class ForgeCalls(Connection):
    """The forge, and what Cloister makes there."""

    __slots__ = ()

    async def publish(self, task: str, *, attempt: int | None = None, options: PublishOptions) -> Published:
        """Push a task's change to its branch, and open its pull request, or bring it up to date."""
        fields = {"attempt": attempt, **asdict(options)}
        return read_as(Published, await self._call("PUT", f"/tasks/{path_part(task)}/pull-request", fields))

    async def publication(self, task: str) -> Publication:
        """What Cloister made of a task at the forge last. NotFoundError."""
        return read_as(Publication, await self._call("GET", f"/tasks/{path_part(task)}/pull-request"))

    async def review(self, asked: ReviewRequest, *, idempotency_key: str | None = None) -> Task:
        """Accept a task that reviews a pull request; see `submit`."""
        fields, key = review_to_fields(asked), idempotency_key or new_key()
        return read_status(await self._call("POST", "/reviews", fields, key=key)).task

    async def post_review(self, task: str, *, attempt: int | None = None) -> Posting:
        """Post what a review found, once."""
        return read_as(Posting, await self._call("PUT", f"/tasks/{path_part(task)}/review", {"attempt": attempt}))

    async def known_review(self, task: str) -> KnownReview:
        """What is known of a task's review at the forge. NotFoundError for a task that is none."""
        return read_as(KnownReview, await self._call("GET", f"/tasks/{path_part(task)}/review"))

    async def forge_login(self) -> ForgeLogin:
        """As whom Cloister is known at the forge, and what is missing."""
        return read_as(ForgeLogin, await self._call("GET", "/forge"))

    async def set_forge_login(self, kind: str, value: str) -> None:
        """Keep what Cloister logs in with there: `token` or `key`."""
        await self._call("PUT", "/forge/login", {"kind": kind, "value": value})

    async def forge_app_manifest(
        self, *, name: str, organization: str | None, redirect: str, workflows: bool
    ) -> AppManifest:
        """What a person's browser posts to the forge to make an app for Cloister."""
        fields = {"name": name, "organization": organization, "redirect": redirect, "workflows": workflows}
        return read_as(AppManifest, await self._call("POST", "/forge/app-manifest", fields))

    async def make_forge_app(self, code: str) -> MadeApp:
        """Let the forge make the app that this code stands for, and keep what it logs in with."""
        return read_as(MadeApp, await self._call("POST", "/forge/app", {"code": code}))

    async def set_forge_webhook_secret(self, value: str, *, forget_former: bool = False) -> None:
        """Keep what the forge signs deliveries with. UsageError."""
        await self._call("PUT", "/forge/webhook-secret", {"value": value, "forget_former": forget_former})

    async def forge_deliveries(self, *, limit: int = 50) -> Sequence[ForgeDelivery]:
        """What the forge told of last, newest first."""
        query = {"limit": str(limit)}
        return read_as(list[ForgeDelivery], await self._call("GET", "/forge/deliveries", query=query))

    async def forge_repositories(self, query: str = "") -> Sequence[ForgeRepository]:
        """The repositories that Cloister's login may use, with that in their name."""
        return read_as(list[ForgeRepository], await self._call("GET", "/forge/repositories", query={"query": query}))

    async def forge_branches(self, repository: str) -> Sequence[ForgeBranch]:
        """The branches of one of them."""
        return read_as(list[ForgeBranch], await self._call("GET", "/forge/branches", query={"repository": repository}))
