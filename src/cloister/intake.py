"""The front door: every request is checked here before anything is made of it."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from anyio import CancelScope, Event

from cloister.environment_file import REPOSITORY_FILE, environment_from_options
from cloister.environments import Environments
from cloister.errors import CloisterError, NotFoundError, UsageError
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.ceiling import UNBOUNDED, Ceiling, excess_of
from cloister.model.choice import attempt_of
from cloister.model.conversation import find_base
from cloister.model.environment import Environment
from cloister.model.environment_source import EnvironmentSource
from cloister.model.event import RecordedEvent
from cloister.model.fairness import OWNER
from cloister.model.given import Upload
from cloister.model.pack import not_installed
from cloister.model.phase import Phase
from cloister.model.reference import is_reference, not_pulled
from cloister.model.request import Request
from cloister.model.request_key import RequestKey
from cloister.model.sandbox import ImageDigest
from cloister.model.secret import BrokerRule, KeptSecret
from cloister.model.statistics import Statistics
from cloister.model.task import CHECK, SHELL, FollowUp, Repository, Revision, Task, TaskId, TaskStatus, given_owner
from cloister.model.task_filter import IN_SIGHT, TaskFilter
from cloister.model_roster import ModelRoster
from cloister.protocols import (
    Agent,
    AgentPacks,
    AttemptQueue,
    FileStore,
    Forge,
    ForgeHost,
    ImageKeeper,
    SandboxBackend,
    SnapshotCatalog,
    SnapshotExporter,
    StatisticsStore,
    TaskStore,
    Vault,
)
from cloister.pull_requests import PullRequests
from cloister.repositories import Repositories
from cloister.repository_address import parse_repository
from cloister.request_checks import (
    check_attempts,
    check_cancellation,
    check_environment_name,
    check_hosts,
    check_limits,
    check_prompt,
    check_request,
    check_secret_name,
    check_uploads,
    given_files,
)
from cloister.results import Results
from cloister.reviews import Reviews
from cloister.secret_rules import check_uses
from cloister.snapshots import Snapshots
from cloister.stock import Stock

COMMAND_AGENT = "command"

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """Accepts tasks, and answers what users ask about them. A request that is wrong changes nothing."""

    store: TaskStore
    queue: AttemptQueue
    forge: Forge
    vault: Vault
    environments: Environments
    images: ImageKeeper
    catalog: SnapshotCatalog
    backend: SandboxBackend
    exporter: SnapshotExporter
    check_host: Callable[[str, int], Awaitable[None]]
    """Raises DeniedError for a host and port of a registry where no caller from elsewhere sends us."""
    agents: Mapping[str, Agent]
    """By name."""
    packs: AgentPacks
    files: FileStore
    now: Callable[[], datetime]
    """Aware, UTC."""
    ceiling: Ceiling = UNBOUNDED
    """What environments get of the network at most."""
    models: ModelRoster
    """Who answers agents."""
    host: ForgeHost | None = None
    """Where repositories are that have pull requests."""
    pull_requests: PullRequests | None = None
    """Publishes changes there."""
    numbers: StatisticsStore | None = None
    """Where all tasks are counted."""
    reviews: Reviews | None = None
    """Reviews pull requests there."""

    @property
    def stock(self) -> Stock:
        """The part that keeps images and agents."""
        return Stock(
            images=self.images, packs=self.packs, agents=self.agents, backend=self.backend, catalog=self.catalog
        )

    @property
    def snapshots(self) -> Snapshots:
        """The part that keeps snapshots."""
        return Snapshots(
            catalog=self.catalog,
            backend=self.backend,
            exporter=self.exporter,
            check_host=self.check_host,
            now=self.now,
        )

    @property
    def repositories(self) -> Repositories:
        """The part that looks at repositories."""
        return Repositories(
            forge=self.forge,
            host=self.host,
            environments=self.environments,
            images=self.images,
            vault=self.vault,
            catalog=self.catalog,
            backend=self.backend,
            store=self.store,
            now=self.now,
        )

    @property
    def results(self) -> Results:
        """The part that hands out what attempts left."""
        return Results(store=self.store, files=self.files)

    async def submit(self, request: Request, key: RequestKey | None = None, *, asked_by: str = OWNER) -> Task:
        """Accept a task of that caller; it is on disk when this returns, and with it what its key stands for.

        Raises UsageError (NotFoundError for what is not there, EnvironmentFileError for the file), and
        RepositoryError when the repository cannot be reached; UnderWayError when the key stands for a request already.
        """
        check_request(request)
        self.backend.expect()
        repository = parse_repository(request.repository, guarded=request.guarded)
        revision = await self.forge.resolve(repository, request.ref)
        revision = replace(revision, foreign=revision.foreign or request.foreign)
        environment, source, agent = await self._environment(request, repository, revision)
        digest = await self._find_image(environment.image)
        await self.repositories.needs(repository, revision, environment, digest)
        await self._check_secrets(environment, request, repository)
        values = {name: value.reveal() for name, value in request.secrets.items()}
        left_out = await self.forge.note(repository)
        accepted_at = self.now()
        task = Task(
            id=new_task_id(accepted_at),
            repository=repository,
            revision=revision,
            environment=environment,
            environment_source=source,
            prompt=request.prompt,
            agent=agent,
            command=request.command,
            shell=request.shell,
            patch=request.patch or b"",
            ask=request.ask or request.review is not None,
            review=request.review,
            files=given_files(request.files),
            use_cache=request.use_cache,
            sealed_secrets=await self.vault.seal_for_task(values) if values else None,
            attempts=request.attempts,
            accepted_at=accepted_at,
            trace_parent=request.trace_parent,
            asked_by=asked_by,
            priority=request.priority,
        )
        notes = _notes_on(task, left_out, self.ceiling)
        with CancelScope(shield=True):  # whoever is cancelled meanwhile still learns that there is a task
            await self._submit(task, request, notes, key)
        return task

    async def _submit(self, task: Task, request: Request, notes: Sequence[str], key: RequestKey | None) -> None:
        """Keep what came with the prompt first: what has a task is there, and what has none goes again."""
        if task.files:
            data = {file.name: upload.data for file, upload in zip(task.files, request.files, strict=True)}
            await self.files.keep(given_owner(task.id), data)
        try:
            await self.queue.submit(task, notes, key)
        except CloisterError:
            await self.files.remove(given_owner(task.id))
            raise

    async def check(self, request: Request) -> None:
        """Refuse what `submit` would refuse now for what it asks, without accepting a task. Errors as there."""
        check_request(request)
        asked = (request.repository, request.ref, request.environment)
        await self._agent(request, (await self.repositories.preview(*asked, guarded=request.guarded)).environment)

    async def task(self, task: str) -> TaskStatus:
        """Where a task is, by its id or a unique beginning of it. NotFoundError."""
        return await self.store.get(task)

    async def tasks(
        self, *, limit: int = 50, before: str | None = None, only: TaskFilter = IN_SIGHT
    ) -> Sequence[TaskStatus]:
        """The newest tasks, newest first: those accepted before the task `before`, and like `only`.

        By default those that are not archived. NotFoundError for an unknown `before`.
        """
        return await self.store.list(limit=limit, before=None if before is None else TaskId(before), only=only)

    async def statistics(self, since: datetime, until: datetime, *, parts: int) -> Statistics:
        """Return the numbers of that time; see `StatisticsStore`."""
        assert self.numbers is not None, "only some tests count nothing"
        return await self.numbers.statistics(since, until, parts=parts)

    async def last_looked_at(self, *, within: int, before: str | None = None) -> TaskId | None:
        """Where a search of so many tasks ends: what it has not looked at is before that one. None when that is all."""
        return await self.store.last_looked_at(within=within, before=None if before is None else TaskId(before))

    async def phases(self, tasks: Sequence[TaskId]) -> Mapping[TaskId, Phase]:
        """In which phase something happened last in each of these tasks."""
        return await self.store.phases(tasks)

    async def archive(self, task: str, *, archived: bool = True) -> TaskStatus:
        """Put a task that is over out of sight, or back, and return it. NotFoundError, ConflictError."""
        status = await self.store.get(task)
        await self.store.set_archived(status.task.id, archived)
        return await self.store.get(status.task.id)

    async def last_seq(self, task: TaskId) -> int:
        """The `seq` of the newest event of a task's log. NotFoundError."""
        return await self.store.last_seq(task)

    def events(
        self,
        task: TaskId,
        *,
        after: int = 0,
        follow: bool = False,
        output: bool = True,
        until: Event | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """What happened in a task, from after that `seq`; with `follow` until it is over, or `until` is set."""
        return self.store.events(task, after=after, follow=follow, output=output, until=until)

    async def follow_up(
        self,
        task: str,
        prompt: str,
        *,
        attempt: int | None = None,
        attempts: int = 1,
        files: Sequence[Upload] = (),
        key: RequestKey | None = None,
        asked_by: str = OWNER,
    ) -> tuple[TaskId, FollowUp]:
        """Accept one more turn of a task; it is on disk when this returns.

        It goes on from that attempt of the last turn, by default from the best that left something. UsageError;
        NotFoundError for an unknown task or attempt; ConflictError while the last turn is not over, or when nothing
        is there to go on from. A key as for `submit`.
        """
        check_prompt(prompt)
        check_attempts(attempts)
        check_uploads(files)
        self.backend.expect()
        status = await self.store.get(task)
        base, last = find_base(status, attempt), status.last_turn
        turn = FollowUp(
            number=last.number + 1,
            prompt=prompt,
            continues=base.attempt,
            attempts=attempts,
            files=given_files(files, taken=[file.name for turn in status.turns for file in turn.files]),
            given=given_owner(status.task.id, secrets.token_hex(4)) if files else None,
            accepted_at=self.now(),
            asked_by=asked_by,
        )
        is_former = all(base.attempt != each.attempt for each in last.attempts)
        notes = [f"turn {last.number} left nothing, so this goes on from what it went on from"] if is_former else []
        with CancelScope(shield=True):  # whoever is cancelled meanwhile still learns that there is a turn
            await self._follow_up(status, turn, files, notes, key)
        return status.task.id, turn

    async def _follow_up(
        self, status: TaskStatus, turn: FollowUp, files: Sequence[Upload], notes: Sequence[str], key: RequestKey | None
    ) -> None:
        """Keep what came with the prompt first, as for a task."""
        if turn.given is not None:
            data = {file.name: upload.data for file, upload in zip(turn.files, files, strict=True)}
            former = next((each.given for each in reversed(status.turns) if each.given), None)
            await self.files.keep(turn.given, data, with_those_of=former)
        try:
            await self.queue.follow_up(status.task.id, turn, notes, key)
        except CloisterError:
            if turn.given is not None:
                await self.files.remove(turn.given)
            raise

    async def cancel(self, task: str, *, attempt: int | None = None, cancellation: Cancellation = AT_ONCE) -> TaskId:
        """Ask for the end of a task, or of one attempt of its last turn. Harmless twice, and when it is over.

        NotFoundError; UsageError for the grace.
        """
        check_cancellation(cancellation)
        status = await self.store.get(task)
        meant = None if attempt is None else attempt_of(status, attempt).attempt
        await self.store.cancel(status.task.id, meant, cancellation)
        return status.task.id

    async def record_key(self) -> str:
        """Return the public key, as PEM, that verifies this installation's records."""
        return await self.vault.public_key()

    async def rotate_key(self) -> int:
        """Replace the master key, and return how many sealed values were wrapped anew. ConflictError."""
        return await self.vault.rotate_key()

    async def delete_environment(self, name: str, *, with_secrets: bool = False) -> tuple[Sequence[str], int]:
        """Take a stored environment out of use, and forget its snapshots: return which secrets went, and how many.

        Errors as for `Environments.delete`. Tasks keep what they were accepted with.
        """
        secrets = await self.environments.delete(name, with_secrets=with_secrets)
        try:
            return secrets, await self.snapshots.reset(name)
        except NotFoundError:
            return secrets, 0

    async def set_secret(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """Keep a secret's value; with a rule, for the proxy alone. UsageError when one of them cannot be one."""
        check_secret_name(name)
        check_environment_name(environment)
        check_hosts(() if rule is None else rule.hosts)
        await self.vault.set(environment, name, value, rule)

    async def secrets(self, environment: str) -> Sequence[KeptSecret]:
        """What an environment's vault keeps, by name, without the values."""
        return await self.vault.list(environment)

    async def remove_secret(self, environment: str, name: str) -> None:
        """Forget a secret. NotFoundError."""
        await self.vault.remove(environment, name)

    async def _environment(
        self, request: Request, repository: Repository, revision: Revision
    ) -> tuple[Environment, EnvironmentSource, str]:
        """Return the environment with what the request says over it, where it is from, and the agent's name."""
        chosen, source = await self.environments.read(request.environment, repository, revision)
        environment = environment_from_options(
            chosen, variables=request.variables, internet=request.internet, allow=request.allow
        )
        agent = await self._agent(request, environment)
        if request.model is not None:
            environment = replace(environment, model=request.model)
        if agent not in (SHELL, CHECK):
            await self.models.check(self.agents[agent].api, environment, agent=agent)
        check_limits(environment.limits)
        return environment, source, agent

    async def _agent(self, request: Request, environment: Environment) -> str:
        if request.shell is not None:
            return SHELL
        if request.command is not None:
            if request.agent not in (None, COMMAND_AGENT):
                raise UsageError(f"agent {request.agent!r} takes no command line; leave one of the two out")
            return COMMAND_AGENT
        agent = request.agent or environment.agent
        if agent == COMMAND_AGENT:
            raise UsageError("the agent `command` needs a command line", hint='for example: --command "make fix"')
        if agent not in self.agents:
            raise NotFoundError(
                f"there is no agent {agent!r}; known: {', '.join(sorted(self.agents))}",
                hint='run a command line as the agent: --command "make fix"',
            )
        if (recipe := self.agents[agent].pack) is not None and await self.packs.find(recipe.name) is None:
            raise not_installed(agent)
        return agent

    async def _find_image(self, image: str) -> ImageDigest | None:
        """Return its digest; None for one that is to be built. NotFoundError when that cannot be done."""
        if (digest := await self.images.find(image)) is not None:
            return digest
        if is_reference(image):
            raise not_pulled(image)
        known = await self.images.names()
        if image not in known:
            raise NotFoundError(f"there is no image {image!r}; known: {', '.join(known)}")
        return None

    async def _check_secrets(self, environment: Environment, request: Request, repository: Repository) -> None:
        for name in request.secrets:
            check_secret_name(name)
            if name in environment.variables:
                raise UsageError(f"{name} is a variable of the environment, so it cannot be a secret too")
        wanted = {secret.name for secret in environment.secrets} - request.secrets.keys()
        if wanted and request.environment is None and environment.name != repository.address:
            # Whoever writes a repository must not choose whose secrets its setup script gets.
            raise await self._another_vault(environment.name, repository, min(wanted))
        kept = {secret.name: secret for secret in await self.vault.list(environment.name)} if wanted else {}
        missing = sorted(wanted - kept.keys())
        if missing:
            raise NotFoundError(
                f"secret {', '.join(missing)} of environment {environment.name!r} has no value",
                hint=f"give it one: cloister secret set {environment.name} {missing[0]}  (or --secret-from-env)",
            )
        own_file = request.environment is not None
        check_hosts(host for use in environment.secrets if use.name in request.secrets for host in use.hosts)
        check_uses(environment.name, environment.secrets, kept=kept, given=request.secrets, own_file=own_file)

    async def _another_vault(self, name: str, repository: Repository, secret: str) -> UsageError:
        stored = await self.environments.store.find(name)
        use = f"if you mean the stored environment: --env {name}; " if stored else ""
        return UsageError(
            f"the repository's own {REPOSITORY_FILE} asks for the secrets of environment {name!r}",
            hint=f"{use}if you trust it with them: --env {REPOSITORY_FILE}; else let it name no environment, and give "
            f"values of this repository's own: cloister secret set {repository.address} {secret}",
        )


def _notes_on(task: Task, left_out: str | None, ceiling: Ceiling) -> list[str]:
    """Return what whoever asked should know of a task before it begins."""
    notes = [*([left_out] if left_out else []), *excess_of(task.environment.network, ceiling)]
    if task.shell and task.environment.services:
        notes.append("a shell starts no services; start those you need in it")
    return notes


def new_task_id(at: datetime) -> TaskId:
    """Make an id: 8 characters of time in milliseconds (good to 2059), so that ids sort, and 4 of chance.

    In Crockford's base 32, lower case: safe in URLs, branches and host names, without look-alikes.
    """
    number = (int((at - _EPOCH).total_seconds() * 1000) << 20) | secrets.randbits(20)
    return TaskId("".join(_CROCKFORD[(number >> shift) & 31] for shift in range(55, -1, -5)))
