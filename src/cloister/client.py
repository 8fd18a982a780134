"""What the commands talk to, and other programs may: Cloister's API, wherever it is."""

import json
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import anyio
import httpx
from httpx_sse import aconnect_sse
from pydantic import TypeAdapter
from starlette.types import ASGIApp

from cloister.api.event_line import line_to_event
from cloister.api.in_process import InProcessTransport
from cloister.api.problem import MEDIA_TYPE, problem_to_error
from cloister.api.requests import (
    choice_to_fields,
    content_to_fields,
    request_to_fields,
    review_to_fields,
    uploads_to_fields,
)
from cloister.api.schedule_shape import ScheduleShape
from cloister.api.task_shape import TaskShape, shape_to_status
from cloister.api.wire import (
    BUNDLE,
    FAILED,
    IDEMPOTENCY_KEY,
    PREFIX,
    PROGRESS,
    AcceptedTurn,
    Deleted,
    NewNotificationWebhook,
    NewToken,
    NewWebhook,
    ReceiverShape,
)
from cloister.errors import CloisterError, UnreachableError
from cloister.model.audit import AuditEntry, AuditFilter
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.choice import attempt_of
from cloister.model.event import AttemptFinished, RecordedEvent
from cloister.model.forge import AppManifest, ForgeBranch, ForgeLogin, ForgeRepository, MadeApp
from cloister.model.given import Upload
from cloister.model.image import BuildProgress, Image
from cloister.model.inbox import ForgeDelivery
from cloister.model.missed import Missed
from cloister.model.model_provider import ListedProvider
from cloister.model.notification import Occasion
from cloister.model.pack import ListedAgent
from cloister.model.publication import Publication, Published, PublishOptions
from cloister.model.request import EnvironmentChoice, EnvironmentText, RepositoryFile, Request, ReviewRequest
from cloister.model.review import KnownReview, Posting
from cloister.model.sandbox import Change
from cloister.model.schedule import ScheduledRun
from cloister.model.secret import BrokerRule, KeptSecret
from cloister.model.snapshot import CheckedDisk, SnapshotKey, SnapshotRecord
from cloister.model.snapshot_export import Compression
from cloister.model.statistics import Statistics
from cloister.model.stored_environment import StoredEnvironment
from cloister.model.task import (
    AttemptId,
    AttemptStatus,
    FollowUp,
    Task,
    TaskId,
    TaskState,
    TaskStatus,
    Turn,
    Verdict,
)
from cloister.model.token import Role, Token
from cloister.model.user import User
from cloister.model.webhook import Delivery, Webhook
from cloister.model.worker import Worker
from cloister.repository_address import is_path

if TYPE_CHECKING:  # what reads environments is loaded by the methods that return it
    from cloister.environments import EnvironmentReport
    from cloister.importing import ImportedEnvironment
    from cloister.preview import CacheAnswer, Preview

T = TypeVar("T")
Report = Callable[[BuildProgress], None]
"""Told how far something is that takes minutes."""
Note = Callable[[str], None]
"""Told a sentence that somebody should know."""

_ANSWER_SECONDS = 300.0
"""A repository may have to be fetched first."""
_SILENCE_SECONDS = 60.0
"""Of an event stream, whose server says every 15 that it is there."""
_SENT_AT_ONCE = 1024 * 1024
_PAUSE_SECONDS = 1.0
"""Before an event stream that broke is asked for again."""
_PATIENCE_SECONDS = 600.0
"""How long nobody may answer meanwhile: a server that is started anew is back by then."""


def _say_nothing(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks the API. Takes and returns plain data; raises CloisterError, as the service itself would.

    UnreachableError when nobody answers.
    """

    _http: httpx.AsyncClient
    _is_far: bool = False
    """Whether the server is not this machine's own: then a repository at a path of ours is sent to it."""
    _is_near: bool = False
    """Whether the application is in this process, where nothing gets lost on the way."""
    _note: Note = _say_nothing
    """Told what of a repository of ours was not sent."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, server: str | None = None, *, token: str | None = None, note: Note = _say_nothing
    ) -> AsyncIterator[Self]:
        """Talk to the server at that address, such as `https://cloister.example`.

        `note` is told, in a sentence, of files of a repository on this machine that are not committed, so not sent.

        By default to the one that `CLOISTER_SERVER` and `CLOISTER_TOKEN` name, or else to that of this machine's state
        directory, as its owner.
        """
        if server is None:
            server, token = os.environ.get("CLOISTER_SERVER"), token or os.environ.get("CLOISTER_TOKEN")
        if server is None:
            from cloister.settings import load_settings  # commands have read them already

            async with cls.over_socket(load_settings(None).socket) as client:
                yield client
            return
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(base_url=server, headers=headers, timeout=_ANSWER_SECONDS) as http:
            yield cls(http, _is_far=True, _note=note)

    @classmethod
    @asynccontextmanager
    async def over_socket(cls, path: Path) -> AsyncIterator[Self]:
        """Talk to the server of a state directory, as its owner, over the socket in it."""
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(base_url="http://cloister", transport=transport, timeout=_ANSWER_SECONDS) as http:
            yield cls(http)

    @classmethod
    @asynccontextmanager
    async def in_process(
        cls, app: ASGIApp, *, headers: Mapping[str, str] = MappingProxyType({})
    ) -> AsyncIterator[Self]:
        """Talk to an application in this process."""
        transport = InProcessTransport(app)
        async with httpx.AsyncClient(base_url="http://cloister", transport=transport, headers=headers) as http:
            yield cls(http, _is_near=True)

    async def submit(self, request: Request, *, idempotency_key: str | None = None) -> Task:
        """Accept a task; it is on disk when this returns. Twice with the same key, it is one task."""
        headers = {"traceparent": str(request.trace_parent)} if request.trace_parent else {}
        request = replace(request, repository=await self._reachable(request.repository))
        fields, key = request_to_fields(request), idempotency_key or _new_key()
        return _status(await self._call("POST", "/tasks", fields, key=key, headers=headers)).task

    async def preview(self, repository: str, ref: str | None, environment: EnvironmentChoice | None) -> "Preview":
        """Say what a task on that repository would do to be ready, without accepting one."""
        from cloister.preview import Preview

        fields = {
            "repository": await self._reachable(repository),
            "ref": ref,
            "environment": choice_to_fields(environment),
        }
        return _read(Preview, await self._call("POST", "/previews", fields))

    async def import_environment(
        self, repository: str, ref: str | None, path: str | None = None
    ) -> "ImportedEnvironment":
        """Make an environment file of what the repository says to other services."""
        from cloister.importing import ImportedEnvironment

        fields = {"repository": await self._reachable(repository), "ref": ref, "path": path}
        return _read(ImportedEnvironment, await self._call("POST", "/imports", fields))

    async def why(self, repository: str, ref: str | None, environment: EnvironmentChoice | None) -> "CacheAnswer":
        """Say whether a task on that repository would find a kept disk, and why not."""
        from cloister.preview import CacheAnswer

        fields = {
            "repository": await self._reachable(repository),
            "ref": ref,
            "environment": choice_to_fields(environment),
        }
        return _read(CacheAnswer, await self._call("POST", "/previews/cache", fields))

    async def task(self, task: str, *, diffs: bool = False) -> TaskStatus:
        """Where a task is, by its id or a unique beginning of it; with `diffs`, they are in its changes."""
        status = _status(await self._call("GET", f"/tasks/{_part(task)}"))
        if not diffs:
            return status
        turns = tuple([await self._with_diffs(status, turn) for turn in status.turns])
        return replace(status, attempts=turns[-1].attempts, turns=turns)

    async def tasks(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        environment: str | None = None,
        state: TaskState | Verdict | None = None,
        text: str = "",
        archived: bool = False,
    ) -> Sequence[TaskStatus]:
        """The newest tasks, newest first: those accepted before the task `before`, and of that environment.

        Those that are in that state, or ended with that verdict; those with that text in the prompt or the repository's
        address, or at the beginning of the id. Those that are not archived, or the others.
        """
        asked = {
            "limit": limit,
            "cursor": before,
            "environment": environment,
            "state": state,
            "text": text or None,
            "archived": archived,
        }
        query = {name: value for name, value in asked.items() if value is not None}
        return [_status(one) for one in (await self._call("GET", "/tasks", query=query))["items"]]

    async def events(
        self, task: TaskId, *, after: int = 0, follow: bool = False, output: bool = True
    ) -> AsyncIterator[RecordedEvent]:
        """What happened in a task, from after that `seq`; with `follow` until it is over.

        Without `output`, what programs printed is left out. A stream that breaks is taken up where it broke.
        """
        deadline = anyio.current_time() + _PATIENCE_SECONDS
        while True:
            query = {"after": after, "follow": follow, "output": output}
            try:
                async for name, line in self._stream(f"/tasks/{_part(task)}/events", query):
                    deadline = anyio.current_time() + _PATIENCE_SECONDS
                    if name == "end":
                        return
                    after = line["seq"]
                    yield line_to_event(line)
            except httpx.TransportError as error:
                if anyio.current_time() > deadline:
                    raise self._unreachable(error) from error
            await anyio.sleep(_PAUSE_SECONDS)

    async def wait(self, task: TaskId, *, diffs: bool = False) -> TaskStatus:
        """Return where the task is once it is over."""
        async for _ in self.events(task, follow=True, output=False):
            pass
        return await self.task(task, diffs=diffs)

    async def wait_for_attempt(self, task: TaskId, attempt: AttemptId) -> TaskStatus:
        """Return where the task is once that attempt is over."""
        async for recorded in self.events(task, follow=True, output=False):
            if recorded.attempt == attempt and isinstance(recorded.event, AttemptFinished):
                break
        return await self.task(task)

    async def follow_up(
        self,
        task: str,
        prompt: str,
        *,
        attempt: int | None = None,
        attempts: int = 1,
        files: Sequence[Upload] = (),
        idempotency_key: str | None = None,
    ) -> tuple[TaskId, FollowUp]:
        """Accept one more turn of a task, which goes on from an attempt of the last, by default the best."""
        fields = {"prompt": prompt, "attempt": attempt, "attempts": attempts, "files": uploads_to_fields(files)}
        path, key = f"/tasks/{_part(task)}/turns", idempotency_key or _new_key()
        accepted = _read(AcceptedTurn, await self._call("POST", path, fields, key=key))
        return TaskId(accepted.task), accepted.turn

    async def cancel(self, task: str, *, attempt: int | None = None, cancellation: Cancellation = AT_ONCE) -> TaskId:
        """Ask for the end of a task, or of one attempt of it; returns its full id, and does not wait."""
        query = {"grace_seconds": cancellation.grace_seconds, "collect": cancellation.collect}
        chosen = {} if attempt is None else {"attempt": attempt}
        return _status(await self._call("POST", f"/tasks/{_part(task)}/cancel", query=query | chosen)).task.id

    async def archive(self, task: str) -> TaskStatus:
        """Leave a task that is over out of lists."""
        return _status(await self._call("POST", f"/tasks/{_part(task)}/archive"))

    async def restore(self, task: str) -> TaskStatus:
        """Show a task in lists again."""
        return _status(await self._call("POST", f"/tasks/{_part(task)}/restore"))

    async def change(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> Change:
        """What an attempt changed, by default the best one's of the last turn."""
        status = await self.task(task)
        chosen = attempt_of(status, attempt, turn)
        diff = await self._diff(status, chosen, turn or status.last_turn.number)
        assert chosen.outcome is not None and chosen.outcome.change is not None, "its diff was there"
        return replace(chosen.outcome.change, diff=diff)

    async def record(self, task: str, *, attempt: int | None = None, turn: int | None = None) -> bytes:
        """The signed record of an attempt, by default the best one's of the last turn: an envelope (DSSE)."""
        return await self._get(f"/tasks/{_part(task)}/record", _numbers(attempt=attempt, turn=turn))

    async def artifact(self, task: str, name: str, *, attempt: int | None = None, turn: int | None = None) -> bytes:
        """A file that an attempt's agent left, by default of the best one of the last turn."""
        query = {"name": name, **_numbers(attempt=attempt, turn=turn)}
        return await self._get(f"/tasks/{_part(task)}/artifact", query)

    async def shell_recording(
        self, task: str, number: int, *, attempt: int | None = None, turn: int | None = None
    ) -> bytes:
        """What a person's shell in an attempt showed, as an asciicast."""
        return await self._get(f"/tasks/{_part(task)}/shells/{number}", _numbers(attempt=attempt, turn=turn))

    async def record_key(self) -> str:
        """The public key, as PEM, that verifies the installation's records."""
        pem: str = (await self._call("GET", "/secrets/record-key"))["pem"]
        return pem

    async def create_environment(self, name: str, content: EnvironmentText | RepositoryFile) -> "EnvironmentReport":
        """Store a text under a name that is not in use."""
        from cloister.environments import EnvironmentReport

        fields = {"name": name, **await self._reachable_content(content)}
        return _read(EnvironmentReport, await self._call("POST", "/environments", fields))

    async def edit_environment(
        self, name: str, content: EnvironmentText | RepositoryFile, *, base: int | None = None
    ) -> "EnvironmentReport":
        """Store the next version, made from version `base`, by default the newest."""
        from cloister.environments import EnvironmentReport

        fields = {"base": base, **await self._reachable_content(content)}
        return _read(EnvironmentReport, await self._call("PUT", f"/environments/{_part(name)}", fields))

    async def environment(self, name: str, version: int | None = None) -> "EnvironmentReport":
        """A stored environment, by default in its newest version."""
        from cloister.environments import EnvironmentReport

        query = {} if version is None else {"version": version}
        return _read(EnvironmentReport, await self._call("GET", f"/environments/{_part(name)}", query=query))

    async def environments(self) -> Sequence[StoredEnvironment]:
        """The stored environments in their newest versions, by name."""
        return _read(list[StoredEnvironment], await self._call("GET", "/environments"))

    async def environment_versions(self, name: str) -> Sequence[StoredEnvironment]:
        """All versions of a stored environment, newest first, also of a deleted one."""
        return _read(list[StoredEnvironment], await self._call("GET", f"/environments/{_part(name)}/versions"))

    async def delete_environment(self, name: str, *, with_secrets: bool = False) -> tuple[Sequence[str], int]:
        """Take a stored environment out of use; return the secrets and the number of snapshots that were forgotten."""
        query = {"with_secrets": with_secrets}
        deleted = _read(Deleted, await self._call("DELETE", f"/environments/{_part(name)}", query=query))
        return deleted.secrets, deleted.snapshots

    async def set_secret(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """Keep a secret's value; with a rule, for the proxy alone."""
        told = None if rule is None else TypeAdapter(BrokerRule).dump_python(rule)
        fields = {"environment": environment, "name": name, "value": value, "rule": told}
        await self._call("PUT", "/secrets", fields)

    async def secrets(self, environment: str) -> Sequence[KeptSecret]:
        """What an environment's vault keeps, by name, without the values."""
        return _read(list[KeptSecret], await self._call("GET", "/secrets", query={"environment": environment}))

    async def remove_secret(self, environment: str, name: str) -> None:
        """Forget a secret."""
        await self._call("DELETE", "/secrets", query={"environment": environment, "name": name})

    async def models(self) -> Sequence[ListedProvider]:
        """The providers of models, and where their keys are."""
        return _read(list[ListedProvider], await self._call("GET", "/models"))

    async def set_model_key(self, provider: str, value: str) -> None:
        """Keep a provider's key in the vault."""
        await self._call("PUT", f"/models/{_part(provider)}/key", {"key": value})

    async def remove_model_key(self, provider: str) -> None:
        """Forget a provider's key."""
        await self._call("DELETE", f"/models/{_part(provider)}/key")

    async def publish(self, task: str, *, attempt: int | None = None, options: PublishOptions) -> Published:
        """Push a task's change to its branch, and open its pull request, or bring it up to date."""
        fields = {"attempt": attempt, **asdict(options)}
        return _read(Published, await self._call("PUT", f"/tasks/{_part(task)}/pull-request", fields))

    async def publication(self, task: str) -> Publication:
        """What Cloister made of a task at the forge last. NotFoundError."""
        return _read(Publication, await self._call("GET", f"/tasks/{_part(task)}/pull-request"))

    async def review(self, asked: ReviewRequest, *, idempotency_key: str | None = None) -> Task:
        """Accept a task that reviews a pull request; see `submit`."""
        fields, key = review_to_fields(asked), idempotency_key or _new_key()
        return _status(await self._call("POST", "/reviews", fields, key=key)).task

    async def post_review(self, task: str, *, attempt: int | None = None) -> Posting:
        """Post what a review found, once."""
        return _read(Posting, await self._call("PUT", f"/tasks/{_part(task)}/review", {"attempt": attempt}))

    async def known_review(self, task: str) -> KnownReview:
        """What is known of a task's review at the forge. NotFoundError for a task that is none."""
        return _read(KnownReview, await self._call("GET", f"/tasks/{_part(task)}/review"))

    async def forge_login(self) -> ForgeLogin:
        """As whom Cloister is known at the forge, and what is missing."""
        return _read(ForgeLogin, await self._call("GET", "/forge"))

    async def set_forge_login(self, kind: str, value: str) -> None:
        """Keep what Cloister logs in with there: `token` or `key`."""
        await self._call("PUT", "/forge/login", {"kind": kind, "value": value})

    async def forge_app_manifest(
        self, *, name: str, organization: str | None, redirect: str, workflows: bool
    ) -> AppManifest:
        """What a person's browser posts to the forge to make an app for Cloister."""
        fields = {"name": name, "organization": organization, "redirect": redirect, "workflows": workflows}
        return _read(AppManifest, await self._call("POST", "/forge/app-manifest", fields))

    async def make_forge_app(self, code: str) -> MadeApp:
        """Let the forge make the app that this code stands for, and keep what it logs in with."""
        return _read(MadeApp, await self._call("POST", "/forge/app", {"code": code}))

    async def set_forge_webhook_secret(self, value: str, *, forget_former: bool = False) -> None:
        """Keep what the forge signs deliveries with. UsageError."""
        await self._call("PUT", "/forge/webhook-secret", {"value": value, "forget_former": forget_former})

    async def forge_deliveries(self, *, limit: int = 50) -> Sequence[ForgeDelivery]:
        """What the forge told of last, newest first."""
        query = {"limit": str(limit)}
        return _read(list[ForgeDelivery], await self._call("GET", "/forge/deliveries", query=query))

    async def forge_repositories(self, query: str = "") -> Sequence[ForgeRepository]:
        """The repositories that Cloister's login may use, with that in their name."""
        return _read(list[ForgeRepository], await self._call("GET", "/forge/repositories", query={"query": query}))

    async def forge_branches(self, repository: str) -> Sequence[ForgeBranch]:
        """The branches of one of them."""
        return _read(list[ForgeBranch], await self._call("GET", "/forge/branches", query={"repository": repository}))

    async def rotate_key(self) -> int:
        """Replace the master key; returns how many sealed values were wrapped anew."""
        count: int = (await self._call("POST", "/secrets/rotate-key"))["values"]
        return count

    async def snapshots(self) -> Sequence[SnapshotRecord]:
        """All kept snapshots, newest first."""
        return _read(list[SnapshotRecord], await self._call("GET", "/snapshots"))

    async def check_snapshot(self, key: str) -> Sequence[CheckedDisk]:
        """Read a snapshot's disk again, and those below it, topmost first."""
        return _read(list[CheckedDisk], await self._call("GET", f"/snapshots/{_part(key)}/check"))

    async def reset_cache(self, environment: str) -> int:
        """Forget every snapshot of an environment, and return how many."""
        count: int = (await self._call("DELETE", "/snapshots", query={"environment": environment}))["snapshots"]
        return count

    async def remove_snapshot(self, key: str) -> SnapshotKey:
        """Forget a snapshot, by its key or a unique beginning; returns the full key."""
        return SnapshotKey((await self._call("DELETE", f"/snapshots/{_part(key)}"))["key"])

    async def export_snapshot(
        self, key: str, reference: str, report: Report, *, compression: Compression = "gzip"
    ) -> str:
        """Push a snapshot to a registry, as an ordinary image; returns its digest there."""
        fields = {"reference": reference, "compression": compression}
        done = await self._carry_out(f"/snapshots/{_part(key)}/export", fields, report)
        return str(done["digest"])

    async def images(self) -> Sequence[Image]:
        """The images on the server's machine, newest first."""
        return _read(list[Image], await self._call("GET", "/images"))

    async def image(self, name: str) -> Image:
        """An image, by name or a unique beginning of its digest."""
        return _read(Image, await self._call("GET", "/images/one", query={"name": name}))

    async def build_image(self, recipe: str, report: Report) -> Image:
        """Build an image from its recipe, from today's packages."""
        return _read(Image, await self._carry_out("/images", {"recipe": recipe}, report))

    async def pull_image(self, reference: str, report: Report) -> Image:
        """Pull an image from its registry."""
        return _read(Image, await self._carry_out("/images", {"reference": reference}, report))

    async def remove_image(self, name: str) -> Image:
        """Remove an image, by name or a unique beginning of its digest."""
        return _read(Image, await self._call("DELETE", "/images", query={"name": name}))

    async def agents(self) -> Sequence[ListedAgent]:
        """The agents, by name, and what of them is installed."""
        return _read(list[ListedAgent], await self._call("GET", "/agents"))

    async def install_agent(self, name: str, report: Report) -> ListedAgent:
        """Fetch an agent's packages, and make them what its next tasks run."""
        return _read(ListedAgent, await self._carry_out(f"/agents/{_part(name)}/install", None, report))

    async def remove_agent(self, name: str) -> None:
        """Remove an installed agent."""
        await self._call("DELETE", f"/agents/{_part(name)}")

    async def workers(self) -> Sequence[Worker]:
        """The workers that live, and the attempts that each carries out."""
        return _read(list[Worker], await self._call("GET", "/workers"))

    async def create_token(
        self, name: str, role: Role = Role.MEMBER, *, lifetime_seconds: float | None = None
    ) -> tuple[Token, str]:
        """Make a token, and return it with the text that its holder sends, which cannot be had again."""
        fields = {"name": name, "role": role, "lifetime_seconds": lifetime_seconds}
        made = _read(NewToken, await self._call("POST", "/tokens", fields))
        return made.about, made.token

    async def tokens(self) -> Sequence[Token]:
        """All tokens, newest first, also those that nobody is let in with any more."""
        return _read(list[Token], await self._call("GET", "/tokens"))

    async def revoke_token(self, token: str) -> Token:
        """Let nobody in with a token any more."""
        return _read(Token, await self._call("DELETE", f"/tokens/{_part(token)}"))

    async def users(self) -> Sequence[User]:
        """Everybody who has logged in by a provider of OpenID Connect, by name."""
        return _read(list[User], await self._call("GET", "/users"))

    async def set_user_disabled(self, user: str, *, disabled: bool) -> User:
        """Let nobody in as a user any more, or do again."""
        return _read(User, await self._call("PUT", f"/users/{_part(user)}", {"disabled": disabled}))

    async def audit(self, wanted: AuditFilter, *, limit: int = 100, before: int | None = None) -> Sequence[AuditEntry]:
        """Who asked for which change, newest first, and what was refused to whom; those numbered below `before`."""
        given = {**asdict(wanted), "limit": limit, "cursor": before}
        query = {name: value for name, value in given.items() if value is not None}
        times = {name: value.isoformat() for name, value in query.items() if isinstance(value, datetime)}
        return _read(list[AuditEntry], (await self._call("GET", "/audit", query=query | times))["items"])

    async def send_repository(self, path: Path) -> str:
        """Send all branches and tags of a repository on this machine; returns its address, for other requests.

        It is this caller's alone. NotFoundError, UsageError.
        """
        from cloister.bundling import bundled  # loads git, for who sends anything

        async with bundled(path) as bundle:
            if bundle.note is not None:
                self._note(bundle.note)
            query = {} if bundle.head is None else {"head": bundle.head}
            headers = {"Content-Type": BUNDLE, "Content-Length": str(bundle.path.stat().st_size)}
            place, content = f"/bundles/{_part(bundle.name)}", _File(bundle.path)
            response = await self._send("PUT", place, content=content, headers=headers, params=query)
        return str(response.json()["repository"])

    async def _reachable(self, repository: str) -> str:
        """Return the address by which the server finds a repository of ours."""
        if not self._is_far or not is_path(repository):
            return repository
        path = repository if repository.startswith("/") else unquote(urlsplit(repository).path)
        return await self.send_repository(Path(path))

    async def _reachable_content(self, content: EnvironmentText | RepositoryFile) -> dict[str, Any]:
        if isinstance(content, RepositoryFile):
            content = replace(content, repository=await self._reachable(content.repository))
        return content_to_fields(content)

    async def create_schedule(
        self, name: str, cron: str, request: Request, *, timezone: str = "UTC", missed: Missed = Missed.ONCE
    ) -> ScheduleShape:
        """Have a task given by cron expression, in the time of that zone."""
        fields = {
            "name": name,
            "cron": cron,
            "timezone": timezone,
            "missed": missed,
            "task": request_to_fields(request),
        }
        return _read(ScheduleShape, await self._call("POST", "/schedules", fields))

    async def schedules(self) -> Sequence[ScheduleShape]:
        """All schedules, by name."""
        return _read(list[ScheduleShape], await self._call("GET", "/schedules"))

    async def schedule(self, name: str) -> ScheduleShape:
        """One of them."""
        return _read(ScheduleShape, await self._call("GET", f"/schedules/{_part(name)}"))

    async def pause_schedule(self, name: str, *, paused: bool = True) -> ScheduleShape:
        """Let no task of a schedule come, or let them come again from now on."""
        return _read(ScheduleShape, await self._call("PATCH", f"/schedules/{_part(name)}", {"paused": paused}))

    async def remove_schedule(self, name: str) -> None:
        """Forget a schedule and its history."""
        await self._call("DELETE", f"/schedules/{_part(name)}")

    async def schedule_runs(self, name: str) -> Sequence[ScheduledRun]:
        """When a schedule was due, newest first, and the task of each time or why there is none."""
        return _read(list[ScheduledRun], await self._call("GET", f"/schedules/{_part(name)}/runs"))

    async def create_webhook(self, url: str, events: Sequence[str]) -> tuple[Webhook, str]:
        """Have messages sent of events; returns what they are signed with too, which cannot be had again."""
        made = _read(NewWebhook, await self._call("POST", "/webhooks", {"url": url, "events": list(events)}))
        return made.about, made.secret

    async def webhooks(self) -> Sequence[Webhook]:
        """All webhooks, oldest first."""
        return _read(list[Webhook], await self._call("GET", "/webhooks"))

    async def pause_webhook(self, webhook: str, *, paused: bool = True) -> Webhook:
        """Let the messages of a webhook wait, or send them again."""
        return _read(Webhook, await self._call("PATCH", f"/webhooks/{_part(webhook)}", {"paused": paused}))

    async def remove_webhook(self, webhook: str) -> None:
        """Forget a webhook, its secret and its messages."""
        await self._call("DELETE", f"/webhooks/{_part(webhook)}")

    async def test_webhook(self, webhook: str) -> Delivery:
        """Send a message that tells of nothing, at once; returns what came of it."""
        return _read(Delivery, await self._call("POST", f"/webhooks/{_part(webhook)}/test"))

    async def rotate_webhook(self, webhook: str) -> str:
        """Replace what messages are signed with, and return it."""
        secret: str = (await self._call("POST", f"/webhooks/{_part(webhook)}/rotate"))["secret"]
        return secret

    async def webhook_deliveries(self, webhook: str, *, limit: int = 50) -> Sequence[Delivery]:
        """The newest messages of a webhook, newest first."""
        found = await self._call("GET", f"/webhooks/{_part(webhook)}/deliveries", query={"limit": limit})
        return _read(list[Delivery], found)

    async def resend_delivery(self, delivery: str) -> Delivery:
        """Send a message once more, under the same id."""
        return _read(Delivery, await self._call("POST", f"/webhooks/deliveries/{_part(delivery)}/resend"))

    async def statistics(
        self, since: datetime | None = None, until: datetime | None = None, *, parts: int = 7
    ) -> Statistics:
        """How tasks ended, how soon they started, whom they asked and what they used; by default of the last week."""
        times = {"since": since, "until": until}
        query = {name: time.isoformat() for name, time in times.items() if time is not None}
        return _read(Statistics, await self._call("GET", "/statistics", query={**query, "parts": parts}))

    async def notifications(self) -> Sequence[ReceiverShape]:
        """The caller's devices and addresses that are told of tasks, oldest first."""
        return _read(list[ReceiverShape], await self._call("GET", "/notifications"))

    async def push_key(self) -> str:
        """What browsers subscribe with."""
        key: str = (await self._call("GET", "/notifications/key"))["key"]
        return key

    async def add_device(
        self,
        endpoint: str,
        p256dh: str,
        auth: str,
        *,
        label: str = "",
        everybody: bool = False,
        replaces: str = "",
    ) -> ReceiverShape:
        """Tell a device of tasks: of all that there is to tell, or of what was chosen for the one that it replaces."""
        said = {"endpoint": endpoint, "p256dh": p256dh, "auth": auth, "label": label, "replaces": replaces}
        fields = {**said, "everybody": everybody}
        return _read(ReceiverShape, await self._call("POST", "/notifications/devices", fields))

    async def add_notification_webhook(
        self, url: str, occasions: Sequence[Occasion] = tuple(Occasion), *, everybody: bool = False
    ) -> tuple[ReceiverShape, str]:
        """Have word of tasks posted; returns what it is signed with too, which cannot be had again."""
        fields = {"url": url, "occasions": list(occasions), "everybody": everybody}
        made = _read(NewNotificationWebhook, await self._call("POST", "/notifications/webhooks", fields))
        return made.about, made.secret

    async def choose_notifications(
        self, receiver: str, occasions: Sequence[Occasion], *, everybody: bool = False
    ) -> ReceiverShape:
        """Change what one of the caller's receivers is told."""
        fields = {"occasions": list(occasions), "everybody": everybody}
        return _read(ReceiverShape, await self._call("PATCH", f"/notifications/receivers/{_part(receiver)}", fields))

    async def test_notification(self, receiver: str) -> str:
        """Tell one of the caller's receivers that this is a test; returns why it was not taken, or nothing."""
        error: str = (await self._call("POST", f"/notifications/receivers/{_part(receiver)}/test"))["error"]
        return error

    async def remove_receiver(self, receiver: str) -> None:
        """Tell one of the caller's receivers nothing any more."""
        await self._call("DELETE", f"/notifications/receivers/{_part(receiver)}")

    async def _with_diffs(self, status: TaskStatus, turn: Turn) -> Turn:
        return replace(turn, attempts=tuple([await self._with_diff(status, one, turn.number) for one in turn.attempts]))

    async def _with_diff(self, status: TaskStatus, attempt: AttemptStatus, turn: int) -> AttemptStatus:
        outcome = attempt.outcome
        if outcome is None or outcome.change is None:
            return attempt
        change = replace(outcome.change, diff=await self._diff(status, attempt, turn))
        return replace(attempt, outcome=replace(outcome, change=change))

    async def _diff(self, status: TaskStatus, attempt: AttemptStatus, turn: int) -> bytes:
        query = {"attempt": attempt.number, "turn": turn}
        return await self._get(f"/tasks/{_part(status.task.id)}/diff", query)

    async def _call(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        # ASCII: lone surrogates go through, so that the server says what is wrong with them
        content = None if fields is None else json.dumps(fields)
        sent = dict(headers) if fields is None else {"Content-Type": "application/json", **headers}
        sent |= {} if key is None else {IDEMPOTENCY_KEY: key}
        response = await self._send(method, path, content=content, headers=sent, params=query)
        return response.json() if response.content else None

    async def _carry_out(self, path: str, fields: dict[str, Any] | None, report: Report) -> Any:
        """Ask for what takes minutes, report how far it is, and return its result."""
        try:
            async for name, told in self._stream(path, {}, fields=fields, method="POST"):
                if name == FAILED:
                    raise problem_to_error(told)
                if name != PROGRESS:
                    return told
                report(BuildProgress(**told))
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        raise UnreachableError(f"{self._http.base_url} ended before it was done")

    async def _get(self, path: str, query: dict[str, Any]) -> bytes:
        return (await self._send("GET", path, params=query)).content

    async def _send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        headers = headers or {}
        send = partial(self._http.request, method, PREFIX + path, headers=headers, **options)
        try:
            response = await self._sent(send, repeatable=method == "GET" or IDEMPOTENCY_KEY in headers)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        _check(response)
        return response

    async def _sent(self, send: Callable[[], Awaitable[httpx.Response]], *, repeatable: bool) -> httpx.Response:
        if self._is_near:
            return await send()
        from cloister.resending import send_again  # loads what only clients of servers need

        return await send_again(send, repeatable=repeatable)

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        return UnreachableError(f"no answer from {self._http.base_url}: {error or type(error).__name__}")

    async def _stream(
        self, path: str, query: dict[str, Any], *, method: str = "GET", fields: dict[str, Any] | None = None
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        timeout = httpx.Timeout(_ANSWER_SECONDS, read=_SILENCE_SECONDS)
        asked = {"params": query, "timeout": timeout} | ({} if fields is None else {"json": fields})
        async with aconnect_sse(self._http, method, PREFIX + path, **asked) as source:
            if source.response.is_error:
                await source.response.aread()
            _check(source.response)
            async for sent in source.aiter_sse():
                if sent.data:  # else it only says that the server is still there
                    yield sent.event, sent.json()


@dataclass(frozen=True, slots=True)
class _File:
    """The body of a request that may be sent again."""

    path: Path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with await anyio.open_file(self.path, "rb") as file:
            while part := await file.read(_SENT_AT_ONCE):
                yield part


def _new_key() -> str:
    return uuid.uuid4().hex


def _numbers(**numbers: int | None) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if number is not None}


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    if response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
        raise problem_to_error(response.json())
    raise CloisterError(f"{response.url} answered {response.status_code}, in words that are not Cloister's")


def _part(name: str) -> str:
    """Return a name as one part of a path."""
    return httpx.URL("http://x").copy_with(path="/" + name).raw_path.decode()[1:].replace("/", "%2F") or "-"


def _read(kind: type[T], fields: Any) -> T:
    return TypeAdapter(kind).validate_python(fields)


def _status(fields: Any) -> TaskStatus:
    return shape_to_status(TaskShape.model_validate(fields))
