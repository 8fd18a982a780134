"""GitHub as `protocols.ForgeHost`: the way to its repositories, and its pull requests."""

import base64
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self
from urllib.parse import quote, urlsplit

from gidgethub import BadRequest, RedirectionException

from cloister.errors import CloisterError, DeniedError, NotFoundError, RepositoryError, UsageError
from cloister.forges.github.app import make_app, manifest_of
from cloister.forges.github.client import GitHubClient, in_our_words
from cloister.forges.github.credentials import (
    READ,
    READ_PULLS,
    WITH_WORKFLOWS,
    WRITE,
    Credentials,
    LoginSource,
)
from cloister.forges.github.login_check import LoginCheck
from cloister.forges.github.names import api_of, graphql_of, name_at
from cloister.model.forge import (
    AppManifest,
    ForgeBranch,
    ForgeLogin,
    ForgeRepository,
    MadeApp,
    NewPullRequest,
    Person,
    PullRequest,
    PullRequestState,
    Way,
)
from cloister.model.repository_pattern import is_named_by
from cloister.model.sandbox import Commit
from cloister.model.secret import SecretValue
from cloister.model.task import Repository
from cloister.protocols import ForgeHost, Vault

MOST_LISTED = 1000
READY = "mutation($id: ID!) { markPullRequestReadyForReview(input: {pullRequestId: $id}) { pullRequest { isDraft } } }"
_KNOWN_SECONDS = 300.0
"""How long a repository's name is believed: one that is renamed is found again by then, or when git says so."""


class GitHubHost:
    """One GitHub."""

    def __init__(
        self,
        url: str,
        client: GitHubClient,
        credentials: Credentials,
        *,
        only: Sequence[str] | None = None,
        webhook: str | None = None,
    ) -> None:
        """`only` are patterns of the repositories that it logs in for, None for all; `webhook` is where it is heard."""
        self._url = url
        self._webhook = webhook
        self._only = only
        self._client = client
        self._credentials = credentials
        self._known: dict[str, tuple[ForgeRepository, float]] = {}
        client.on_moved = self._known.clear

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        vault: Vault,
        source: LoginSource,
        *,
        only: Sequence[str] | None = None,
        webhook: str | None = None,
    ) -> AsyncIterator[Self]:
        """Talk to the GitHub at `url`; nothing is asked before anybody needs it."""
        client = GitHubClient(api_of(url))
        try:
            yield cls(url, client, Credentials(client, vault, source), only=only, webhook=webhook)
        finally:
            await client.aclose()

    @property
    def client(self) -> GitHubClient:
        """What asks."""
        return self._client

    @property
    def is_app(self) -> bool:
        """Whether Cloister is known there as an app, and not by a person's token."""
        return self._credentials.app is not None

    async def login_for(self, repository: Repository, permissions: Mapping[str, str]) -> tuple[str, str | None]:
        """Return what a repository is called now, and a token for it with these permissions."""
        name = (await self.describe(repository)).name
        return name, await self._token(name, permissions)

    def covers(self, repository: Repository) -> bool:
        """By its address alone."""
        return name_at(self._url, repository.address) is not None

    async def way_to(self, repository: Repository, *, push: bool = False, workflows: bool = False) -> Way:
        """See `protocols.ForgeHost`. A token is never part of the address, which errors and logs show."""
        if not self.covers(repository) or await self._credentials.find() is None:
            return Way(address=repository.address)
        if not push and not is_named_by(self._name(repository), self._only):
            return Way(address=repository.address)  # a public one, as anybody reads it
        try:
            found = await self.describe(repository)
        except NotFoundError:
            if push or self._credentials.app is None:
                raise
            return Way(address=repository.address)  # a public one, where the app is not installed
        permissions = (WITH_WORKFLOWS if workflows else WRITE) if push else READ
        token = await self._credentials.token_for(found.name, permissions)
        return Way(address=found.address, variables={} if token is None else self._as_header(token), token=token)

    async def describe(self, repository: Repository) -> ForgeRepository:
        """Ask, or remember for some minutes; a renamed one is followed."""
        name = self._name(repository)
        self._check_named(name)
        known = self._known.get(name)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        token = await self._token(name, READ)
        async with in_our_words(f"repository {name}"):
            try:
                said = await self._client.getitem(f"/repos/{name}", oauth_token=token)
            except RedirectionException as error:
                said = await self._client.getitem(self._client.redirected(error), oauth_token=token)
        found = self._repository(said)
        self._check_named(found.name)  # what was renamed may be somebody else's by now
        self._known[name] = (found, time.monotonic() + _KNOWN_SECONDS)
        return found

    async def repositories(self) -> Sequence[ForgeRepository]:
        """Those of the person, or of every installation of the app."""
        found: list[ForgeRepository] = []
        if self._credentials.app is None:
            token = await self._credentials.token_for("")
            assert token is not None
            await self._list("/user/repos?per_page=100&sort=pushed", token, found)
        else:
            for installation in await self._credentials.installations():
                token = await self._credentials.installation_token(installation)
                await self._list("/installation/repositories?per_page=100", token, found)
        return [it for it in found if is_named_by(it.name, self._only)]

    async def branches(self, repository: Repository) -> Sequence[ForgeBranch]:
        """By name, the first thousand."""
        name = (await self.describe(repository)).name
        token = await self._token(name, READ)
        found: list[ForgeBranch] = []
        async with in_our_words(f"branches of {name}"):
            async for it in self._client.getiter(f"/repos/{name}/branches?per_page=100", oauth_token=token):
                branch = ForgeBranch(name=it["name"], commit=Commit(it["commit"]["sha"]), protected=it["protected"])
                found.append(branch)
                if len(found) == MOST_LISTED:
                    break
        return found

    async def author(self) -> Person:
        """Return the person of the token, or the app's bot, with the address that GitHub knows them by."""
        async with in_our_words("login"):
            if self._credentials.app is None:
                token = await self._credentials.token_for("")
                user = await self._client.getitem("/user", oauth_token=None if token is None else token.reveal())
            else:
                app = await self._client.getitem("/app", jwt=await self._credentials.jwt())
                bot = quote(f"{app['slug']}[bot]")
                user = await self._client.getitem(f"/users/{bot}", oauth_token=await self._any_token())
        host = urlsplit(self._url).hostname
        return Person(name=user["login"], email=f"{user['id']}+{user['login']}@users.noreply.{host}")

    async def get_pull_request(self, repository: Repository, number: int) -> PullRequest:
        """By its number."""
        name = (await self.describe(repository)).name
        token = await self._token(name, READ_PULLS)
        async with in_our_words(f"pull request {number} of {name}"):
            return _pull_request(await self._client.getitem(f"/repos/{name}/pulls/{number}", oauth_token=token))

    async def find_pull_request(self, repository: Repository, branch: str) -> PullRequest | None:
        """Return the open one of that branch, else the newest."""
        name, token = await self._writing(repository)
        head = quote(f"{name.partition('/')[0]}:{branch}", safe="")
        async with in_our_words(f"pull request of {name}"):
            found = await self._client.getitem(f"/repos/{name}/pulls?state=all&head={head}", oauth_token=token)
        pulls = [_pull_request(it) for it in found if it["head"]["ref"] == branch]
        own = [it for it in pulls if not it.fork]  # an owner may have forks of what is theirs
        return next((it for it in own if it.state is PullRequestState.OPEN), next(iter(own), None))

    async def open_pull_request(self, repository: Repository, new: NewPullRequest) -> PullRequest:
        """Open one, unless the branch has an open one: then that is returned, however it came to be."""
        name, token = await self._writing(repository)
        data = {"title": new.title, "body": new.body, "head": new.branch, "base": new.base, "draft": new.draft}
        try:
            async with in_our_words(f"pull request of {name}"):
                made = await self._client.post(f"/repos/{name}/pulls", data=data, oauth_token=token)
        except CloisterError:  # it may be there all the same: the answer was lost, or somebody else was faster
            found = await self.find_pull_request(repository, new.branch)
            if found is None or found.state is not PullRequestState.OPEN:
                raise
            return found
        pull = _pull_request(made)
        if new.labels:
            await self._label(name, pull.number, new.labels, token)
        return pull

    async def update_pull_request(
        self, repository: Repository, number: int, *, title: str | None = None, body: str | None = None
    ) -> PullRequest:
        """Change its words; what is None stays."""
        name, token = await self._writing(repository)
        data = {key: value for key, value in (("title", title), ("body", body)) if value is not None}
        async with in_our_words(f"pull request {number} of {name}"):
            changed = await self._client.patch(f"/repos/{name}/pulls/{number}", data=data, oauth_token=token)
        return _pull_request(changed)

    async def label_pull_request(self, repository: Repository, number: int, labels: Sequence[str]) -> None:
        """Add labels; those that it has stay."""
        name, token = await self._writing(repository)
        await self._label(name, number, labels, token)

    async def assign_pull_request(self, repository: Repository, number: int, people: Sequence[str]) -> Sequence[str]:
        """GitHub leaves out, without a word, who may not have it."""
        name, token = await self._writing(repository)
        async with in_our_words(f"assignees of pull request {number} of {name}"):
            path = f"/repos/{name}/issues/{number}/assignees"
            said = await self._client.post(path, data={"assignees": list(people)}, oauth_token=token)
        given = {it["login"].lower() for it in said["assignees"]}
        return [person for person in people if person.lower() in given]

    async def make_ready(self, repository: Repository, number: int) -> None:
        """By GraphQL: the other API has no word for it."""
        name, token = await self._writing(repository)
        async with in_our_words(f"pull request {number} of {name}"):
            pull = await self._client.getitem(f"/repos/{name}/pulls/{number}", oauth_token=token)
            if pull["draft"]:
                asked = {"query": READY, "variables": {"id": pull["node_id"]}}
                said = await self._client.post(graphql_of(self._url), data=asked, oauth_token=token)
                if errors := said.get("errors"):
                    raise DeniedError(f"GitHub does not let pull request {number} be ready: {errors[0]['message']}")

    async def set_login(self, kind: str, value: str) -> None:
        """Keep a personal token, or the app's key, in the vault; see `Credentials.keep`."""
        await self._credentials.keep(kind, value.strip())

    async def login(self) -> ForgeLogin:
        """Say as whom Cloister is known, and what is missing."""
        check = LoginCheck(
            url=self._url,
            client=self._client,
            credentials=self._credentials,
            author=self.author,
            repositories=self.repositories,
            webhook=self._webhook,
        )
        return await check.run()

    def app_manifest(self, *, name: str, organization: str | None, redirect: str, workflows: bool) -> AppManifest:
        """Say what a browser is to post."""
        return manifest_of(
            self._url,
            name=name,
            organization=organization,
            redirect=redirect,
            webhook=self._webhook,
            workflows=workflows,
        )

    async def make_app(self, code: str) -> MadeApp:
        """Ask for it, and keep what it logs in with."""
        return await make_app(self._client, self._credentials, self._url, code)

    async def _list(self, path: str, token: SecretValue, found: list[ForgeRepository]) -> None:
        async with in_our_words("repositories"):
            listed = self._client.getiter(path, oauth_token=token.reveal(), iterable_key="repositories")
            async for it in listed:
                if len(found) == MOST_LISTED:
                    return
                found.append(self._repository(it))

    async def _label(self, name: str, number: int, labels: Sequence[str], token: str | None) -> None:
        async with in_our_words(f"labels of pull request {number} of {name}"):
            await self._client.post(
                f"/repos/{name}/issues/{number}/labels", data={"labels": list(labels)}, oauth_token=token
            )

    async def _writing(self, repository: Repository) -> tuple[str, str | None]:
        name = (await self.describe(repository)).name
        return name, await self._token(name, WRITE)

    async def _token(self, name: str, permissions: Mapping[str, str]) -> str | None:
        try:
            token = await self._credentials.token_for(name, permissions)
        except BadRequest as error:
            raise RepositoryError(f"GitHub gives no token for {name}: {error}") from error
        if token is None:
            raise NotFoundError(
                f"GitHub App {self._credentials.app} is not installed for {name}",
                hint=f"install it on {self._url}, or ask the repository's owner to",
            )
        return token.reveal()

    async def _any_token(self) -> str:
        installations = await self._credentials.installations()
        if not installations:
            raise NotFoundError(f"GitHub App {self._credentials.app} is installed nowhere")
        return (await self._credentials.installation_token(installations[0])).reveal()

    def _name(self, repository: Repository) -> str:
        name = name_at(self._url, repository.address)
        if name is None:
            raise UsageError(f"{repository.address} is no repository at {self._url}")
        return name

    def _check_named(self, name: str) -> None:
        if not is_named_by(name, self._only):
            raise DeniedError(
                f"the settings let Cloister log in for other repositories than {name}",
                hint="an operator names those it may use: repositories, in the table [github] of the settings",
            )

    def _repository(self, said: Mapping[str, Any]) -> ForgeRepository:
        name: str = said["full_name"]
        return ForgeRepository(
            name=name,
            address=f"{self._url}/{name}",  # as it is called, on the host of the settings and no other
            default_branch=said["default_branch"],
            private=said["private"],
            may_push=bool(said.get("permissions", {}).get("push")) or self._credentials.app is not None,
            id=str(said["id"]),
        )

    def _as_header(self, token: SecretValue) -> Mapping[str, str]:
        login = base64.b64encode(f"x-access-token:{token.reveal()}".encode()).decode()
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"http.{self._url}/.extraHeader",
            "GIT_CONFIG_VALUE_0": f"Authorization: Basic {login}",
        }


_: type[ForgeHost] = GitHubHost


def _pull_request(said: Mapping[str, Any]) -> PullRequest:
    merged = said.get("merged_at") is not None
    head, base = said["head"], said["base"]
    return PullRequest(
        number=said["number"],
        address=said["html_url"],
        state=PullRequestState.MERGED if merged else PullRequestState(said["state"]),
        branch=head["ref"],
        base=base["ref"],
        title=said["title"],
        body=said["body"] or "",
        draft=bool(said.get("draft")),
        author=(said.get("user") or {}).get("login", "ghost"),  # whose account is gone
        head=Commit(head["sha"]),
        fork=head["repo"] is None or head["repo"]["id"] != base["repo"]["id"],
        repository=str(base["repo"]["id"]),
    )
