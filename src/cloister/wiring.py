"""Settings in, a working application out: the only module that knows which parts are real."""

import gc
import os
import shutil
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio

from cloister.access import Access
from cloister.agents.aider import AiderAgent
from cloister.agents.check import CheckAgent
from cloister.agents.claude import ClaudeAgent
from cloister.agents.codex import CodexAgent
from cloister.agents.command import CommandAgent
from cloister.agents.configured import ConfiguredAgent
from cloister.agents.gemini import GeminiAgent
from cloister.agents.mini_swe_agent import MiniSweAgent
from cloister.agents.opencode import OpencodeAgent
from cloister.audit import Audit
from cloister.automation import Automation
from cloister.automation.notifications import Notifications
from cloister.automation.review_poster import ReviewPoster
from cloister.automation.schedules import Schedules
from cloister.automation.webhooks import Webhooks
from cloister.certificates import read_certificates
from cloister.doctor import examine
from cloister.doctor.finding import Finding
from cloister.egress.addresses import classify, classify_own
from cloister.egress.authority import Authority, load_authority
from cloister.egress.interfaces import own_addresses
from cloister.egress.messages import EgressSettings
from cloister.egress.outgoing import GuardedSender
from cloister.egress.process import EgressProcess
from cloister.egress.registries import registries_of_host
from cloister.environments import Environments
from cloister.errors import UsageError
from cloister.forges.branches import MirrorBranches
from cloister.forges.github.checks import GitHubChecks
from cloister.forges.github.credentials import LoginSource
from cloister.forges.github.host import GitHubHost
from cloister.forges.github.reviews import GitHubReviews
from cloister.forges.github.threads import GitHubThreads
from cloister.forges.local import LocalForge
from cloister.forges.reach import Reach
from cloister.forges.signing import CommitSigner
from cloister.health import Health
from cloister.intake import Intake
from cloister.model.model_provider import ModelProvider
from cloister.model.secret import SecretValue
from cloister.model.task import SHELL, Outcome, TaskId, Verdict
from cloister.model.thread import Permission
from cloister.model.upstreams import Upstreams
from cloister.model_roster import ModelRoster
from cloister.notary import Notary
from cloister.phases import final_disk
from cloister.protocols import (
    Agent,
    AgentPacks,
    AttemptQueue,
    Egress,
    Forge,
    IdentityProvider,
    SandboxBackend,
    TaskStore,
    Vault,
    WebhookSender,
)
from cloister.pull_requests import PullRequests
from cloister.queues.embedded import EmbeddedQueue
from cloister.reaper import (
    SnapshotReaper,
    destroy_strays,
    expire_snapshots,
    forget_given_to_nobody,
    forget_unknown_snapshots,
)
from cloister.reviews import Reviews
from cloister.sandboxes.oci.backend import open_backend
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.network import find_catching_error
from cloister.sandboxes.oci.packs import OciAgentPacks
from cloister.sandboxes.oci.volume import find_volume_error
from cloister.sessions import Sessions
from cloister.settings import Settings
from cloister.stores.asked import SqlAskedStore
from cloister.stores.attempts import SqlLedger
from cloister.stores.audit import SqlAuditStore
from cloister.stores.database import Database
from cloister.stores.environments import SqlEnvironmentStore
from cloister.stores.inbox import SqlInboxStore
from cloister.stores.kept_files import DirectoryFileStore
from cloister.stores.notifications import SqlReceiverStore
from cloister.stores.publications import SqlPublicationStore
from cloister.stores.queue_depth import read_queue_depth
from cloister.stores.reviews import SqlReviewStore
from cloister.stores.schedules import SqlScheduleStore
from cloister.stores.secrets import SqlSecretStore
from cloister.stores.sessions import SqlSessionStore
from cloister.stores.snapshots import SqlSnapshotCatalog
from cloister.stores.tasks import SqlTaskStore
from cloister.stores.tokens import SqlTokenStore
from cloister.stores.users import SqlUserStore
from cloister.stores.webhooks import SqlWebhookStore
from cloister.tokens import Tokens
from cloister.tools import Tools
from cloister.triggers.gatekeeper import Gatekeeper, TriggerRules
from cloister.triggers.handling import Handler
from cloister.triggers.inbox import Inbox
from cloister.triggers.inbox_watcher import InboxWatcher, Unwatched
from cloister.triggers.signature import WebhookSecrets
from cloister.users import Users
from cloister.vault.keys import KeyFile
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault
from cloister.worker import Drain, run_worker

if TYPE_CHECKING:
    from cloister.backup.state import State
    from cloister.telemetry.instruments import Instruments
    from cloister.triggers.following import Following
    from cloister.triggers.mention import Command

GITHUB_WEBHOOK = "/webhooks/github"
_SHARE_OF_SNAPSHOTS = 5
"""Of the file system that the state directory is on: a fifth, where the settings say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """An open installation on this machine."""

    intake: Intake
    access: Access
    images: OciImageStore
    agents: Mapping[str, Agent]
    """By name."""
    packs: AgentPacks
    tools: Tools
    backend: SandboxBackend
    reaper: SnapshotReaper
    settings: Settings
    health: Health
    automation: Automation
    instruments: "Instruments | None" = None
    """What counts; None where nobody wants the numbers."""

    @property
    def tokens(self) -> Tokens:
        """Of callers from elsewhere."""
        return self.access.tokens

    async def work(self, *, until_idle: bool = False, task: TaskId | None = None, drain: Drain | None = None) -> None:
        """Run attempts (of `task`, when given) until cancelled, or with `until_idle` until none is left.

        Or until what runs is over, when `drain` was asked.
        """
        await destroy_strays(self.intake.store, self.backend)
        await self.reaper.reap()
        if not until_idle:  # it stays, so that nobody waits for this
            await forget_given_to_nobody(self.intake.store, self.tools.files, datetime.now(UTC))
        gc.collect()
        gc.freeze()  # what is loaded by now stays for good, and looking through it would delay a start
        async with anyio.create_task_group() as group:
            group.start_soon(self.reaper.run)
            if self.instruments is not None:
                group.start_soon(self.instruments.keep_depth)
            with self.health.at_work():
                await run_worker(self.tools, slots=self.settings.slots, until_idle=until_idle, task=task, drain=drain)
            group.cancel_scope.cancel()

    async def clean(self) -> "CleanReport":
        """Cancel what no living worker holds, and remove everything that belongs to nobody."""
        cancelled = await _cancel_unowned(self.tools, Notary(self.tools.queue, self.tools.vault, self.tools.ceiling))
        destroyed = await destroy_strays(self.intake.store, self.backend)
        await forget_given_to_nobody(self.intake.store, self.tools.files, datetime.now(UTC))
        expired = await expire_snapshots(self.tools.catalog, self.backend, datetime.now(UTC))
        expired += await forget_unknown_snapshots(self.tools.catalog, self.backend)
        return CleanReport(attempts=cancelled, sandboxes=destroyed, snapshots=expired)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanReport:
    """How much `clean` ended and removed."""

    attempts: int
    sandboxes: int
    snapshots: int


@asynccontextmanager
async def open_application(
    settings: Settings, *, measured: bool = False, served: bool = False
) -> AsyncIterator[Application]:
    """Open the installation in this process. Nothing is run until `work` is called.

    With `measured`, what it does is counted, and shown where the settings and OpenTelemetry's variables say; with
    `served` too, for `/metrics` as well.
    """
    async with AsyncExitStack() as stack:
        shown = served and settings.metrics_access != "off"
        open_ = partial(_open_instruments, settings, stack, shown=shown) if measured else _measure_nothing
        yield await _open_parts(settings, stack, open_)


def automation_of(
    settings: Settings,
    database: Database,
    intake: Intake,
    sender: WebhookSender,
    watcher: InboxWatcher | None = None,
) -> Automation:
    """Return what a server shall do by itself; `watcher` is told of deliveries."""
    return Automation(
        schedules=Schedules(store=SqlScheduleStore(database), intake=intake, now=_now),
        webhooks=Webhooks(store=SqlWebhookStore(database), vault=intake.vault, sender=sender, now=_now),
        inbox=_inbox_of(settings, database, intake, watcher or Unwatched()),
        notifications=Notifications(
            store=SqlReceiverStore(database),
            vault=intake.vault,
            sender=sender,
            intake=intake,
            tokens=Tokens(store=SqlTokenStore(database), now=_now),
            users=Users(store=SqlUserStore(database), rules={}, now=_now),
            now=_now,
            public_url=settings.public_url,
        ),
        reviews=ReviewPoster(reviews=intake.reviews, now=_now) if intake.reviews is not None else None,
        following=partial(_following_of, settings, database, intake),
    )


def _inbox_of(settings: Settings, database: Database, intake: Intake, watcher: InboxWatcher) -> Inbox:
    """Return what takes deliveries of the forge, and works them off."""
    table = settings.github
    given = [SecretValue(it.get_secret_value()) for it in (table.webhook_secret, table.webhook_secret_former) if it]
    secrets = WebhookSecrets(vault=intake.vault, given=given)
    load = partial(_handlers_of, settings, database, intake)
    return Inbox(store=SqlInboxStore(database), secrets=secrets, load=load, watcher=watcher, now=_now)


def _handlers_of(settings: Settings, database: Database, intake: Intake) -> Sequence[Handler]:
    """Return what works deliveries off."""
    from cloister.triggers.mentions import Mentions  # here: no start waits for what servers alone need
    from cloister.triggers.starting import Starter

    threads, rules, host = _threads_of(intake), trigger_rules_of(settings), intake.host
    assert host is not None
    gatekeeper = Gatekeeper(host=host, threads=threads, rules=rules)
    mentions = Mentions(
        gatekeeper=gatekeeper,
        threads=threads,
        store=SqlAskedStore(database),
        starter=Starter(
            intake=intake,
            threads=threads,
            publications=SqlPublicationStore(database),
            store=SqlAskedStore(database),
            rules=rules,
        ),
        audit=Audit(store=SqlAuditStore(database), now=_now),
        now=_now,
        public_url=settings.public_url,
        commands=_commands_of(intake, gatekeeper),
    )
    return (mentions, *review_handlers_of(settings, intake, gatekeeper))


def _commands_of(intake: Intake, gatekeeper: Gatekeeper) -> "Mapping[str, Command]":
    """Return what words behind a mention stand for."""
    from cloister.triggers.review_command import ReviewCommand

    if intake.reviews is None:
        return {}
    review = ReviewCommand(rules=gatekeeper.rules, threads=gatekeeper.threads, intake=intake, reviews=intake.reviews)
    return {review.word: review}


def _following_of(settings: Settings, database: Database, intake: Intake) -> "Following":
    from cloister.triggers.following import Following

    assert intake.pull_requests is not None
    return Following(
        intake=intake,
        pull_requests=intake.pull_requests,
        store=SqlAskedStore(database),
        threads=_threads_of(intake),
        now=_now,
        public_url=settings.public_url,
        draft=settings.github.draft,
    )


def _threads_of(intake: Intake) -> GitHubThreads:
    assert isinstance(intake.host, GitHubHost)
    return GitHubThreads(intake.host)


def review_handlers_of(settings: Settings, intake: Intake, gatekeeper: Gatekeeper) -> Sequence[Handler]:
    """Return what works off deliveries about reviews and checks."""
    from cloister.triggers.check_runs import ChecksAgain
    from cloister.triggers.failed_checks import FailedChecks
    from cloister.triggers.reviewing import AutomaticReviews

    rules, host, pulls, reviews = gatekeeper.rules, gatekeeper.host, intake.pull_requests, intake.reviews
    assert pulls is not None
    assert pulls.checks is not None
    assert reviews is not None
    return (
        AutomaticReviews(rules=rules, threads=gatekeeper.threads, intake=intake, reviews=reviews),
        ChecksAgain(
            gatekeeper=gatekeeper,
            intake=intake,
            forge=intake.forge,
            board=pulls.checks,
            publications=pulls.publications,
            public_url=settings.public_url,
        ),
        FailedChecks(
            rules=rules,
            intake=intake,
            host=host,
            board=pulls.checks,
            publications=pulls.publications,
            pull_requests=pulls,
        ),
    )


def trigger_rules_of(settings: Settings) -> TriggerRules:
    """Return what the settings say about work that is asked for at the forge."""
    table = settings.github
    return TriggerRules(
        url=table.url,
        mention=table.mention,
        repositories=table.repositories,
        least=Permission[table.trigger_permission.upper()],
        own_login=table.own_login,
        label=table.label,
        assign=table.assign,
        draft=table.draft,
        per_person=table.tasks_per_person,
        per_repository=table.tasks_per_repository,
        review_all=table.review_all,
        fix_checks=table.fix_checks,
        environment=table.environment,
    )


def state_of(settings: Settings) -> "State":
    """Return where the installation keeps what a backup is of."""
    from cloister.backup.state import State  # here: tasks need nothing of it, and start sooner
    from cloister.stores.copying import adopt_database, copy_database

    keys = {"master.key": settings.master_key_path, "record.key": settings.record_key_path}
    for name in ("next", "previous"):
        keys[f"master.key.{name}"] = settings.master_key_path.with_name(f"{settings.master_key_path.name}.{name}")
    return State(directory=settings.state, key_files=keys, copy_database=copy_database, upgrade_database=adopt_database)


async def examine_host(settings: Settings) -> Sequence[Finding]:
    """Say whether this host can run sandboxes, and what it lacks; see `doctor`."""
    return await examine(settings, find_catching_error=find_catching_error, find_volume_error=find_volume_error)


async def _open_parts(
    settings: Settings, stack: AsyncExitStack, measure: "Callable[[Database], Instruments | None]"
) -> Application:
    authorities = read_certificates(settings.authorities)
    providers = _providers(settings)
    authority = load_authority(settings.state)
    database = await stack.enter_async_context(Database.open(settings.state / "cloister.db"))
    instruments = measure(database)
    egress = await stack.enter_async_context(_egress_process(settings, authority, authorities))
    images = OciImageStore(settings.state)
    backend = await stack.enter_async_context(
        open_backend(settings.state, images, runtime=settings.runtime, authorities=authority.certificate + authorities)
    )
    queue: AttemptQueue = await stack.enter_async_context(
        EmbeddedQueue.open(SqlLedger(database), settings.state / "workers", settings.running_limits)
    )
    watched: Egress = egress
    if instruments is not None:
        queue, watched = instruments.watch_queue(queue), instruments.watch_egress(egress)
    vault = SealedVault(
        SqlSecretStore(database), KeyFile(settings.master_key_path), SigningKeyFile(settings.record_key_path)
    )
    host = await stack.enter_async_context(open_host(settings, vault))
    reach = replace(reach_of(settings), named=_forge_of(settings))
    forge = LocalForge(
        settings.state, ssh_config=settings.ssh_config, reach=reach, host=host, most_large_bytes=settings.large_files
    )
    catalog = SqlSnapshotCatalog(database)
    agents = _agents(settings)
    packs = OciAgentPacks(settings.state)
    files = DirectoryFileStore(settings.state / "files")
    models = ModelRoster(vault=vault, providers=providers, ceiling=settings.ceiling)
    environments = Environments(store=SqlEnvironmentStore(database), forge=forge, vault=vault, now=_now)
    tasks = SqlTaskStore(database, settings.running_limits)
    intake = Intake(
        store=tasks,
        queue=queue,
        forge=forge,
        vault=vault,
        environments=environments,
        images=images,
        catalog=catalog,
        backend=backend,
        exporter=backend.exporter,
        check_host=replace(reach_of(settings), what="registry").check,
        agents=agents,
        packs=packs,
        files=files,
        ceiling=settings.ceiling,
        models=models,
        host=host,
        pull_requests=pull_requests_of(settings, database, tasks, forge, host),
        reviews=reviews_of(settings, database, tasks, environments, host),
        numbers=tasks,
        now=_now,
    )
    reaper = SnapshotReaper(catalog, backend, most_bytes=_room_for_snapshots(settings), now=_now)
    tools = Tools(
        queue=queue,
        images=images,
        forge=forge,
        vault=vault,
        catalog=catalog,
        backend=backend,
        egress=watched,
        agents=agents,
        packs=packs,
        files=files,
        on_kept=reaper.wake,
        models=models,
        ceiling=settings.ceiling,
    )
    return Application(
        intake=intake,
        access=access_of(settings, database),
        images=images,
        agents=agents,
        packs=packs,
        tools=tools,
        backend=backend,
        reaper=reaper,
        settings=settings,
        health=Health(
            state=settings.state,
            look_at_database=partial(intake.store.list, limit=1),
            has_egress=lambda: egress.pid is not None,
        ),
        automation=automation_of(
            settings,
            database,
            intake,
            GuardedSender(replace(reach_of(settings), what="receiver of webhooks").find),
            None if instruments is None else instruments.deliveries,
        ),
        instruments=instruments,
    )


def reach_of(settings: Settings) -> Reach:
    """Return where repositories may be that callers from elsewhere name."""

    def judge(address: IPv4Address | IPv6Address) -> str | None:
        return classify(address, settings.allow_private, own_addresses())

    return Reach(classify=judge, given=_upstreams(settings).addresses)


def _forge_of(settings: Settings) -> Collection[tuple[str, int]]:
    """Host and port of the forge, when it is not the public one: the operator says where it is, and may mean here."""
    url = urlsplit(settings.github.url)
    if url.hostname in (None, "github.com"):
        return ()
    return [(str(url.hostname), url.port or (443 if url.scheme == "https" else 80))]


@asynccontextmanager
async def open_host(settings: Settings, vault: Vault) -> AsyncIterator[GitHubHost]:
    """Return the forge of the settings, which is asked nothing before anybody needs it."""
    table = settings.github
    source = LoginSource(
        app=table.app,
        key_file=Path(table.key_file) if table.key_file else None,
        names_webhook_secret=table.webhook_secret is not None,
        token_file=Path(table.token_file) if table.token_file else None,
    )
    webhook = f"{settings.public_url.rstrip('/')}{GITHUB_WEBHOOK}" if settings.public_url else None
    async with GitHubHost.open(table.url, vault, source, only=table.repositories, webhook=webhook) as host:
        yield host


def pull_requests_of(
    settings: Settings, database: Database, tasks: TaskStore, forge: Forge, host: GitHubHost
) -> PullRequests:
    """Return what publishes changes."""
    return PullRequests(
        tasks=tasks,
        publications=SqlPublicationStore(database),
        forge=forge,
        host=host,
        branches=MirrorBranches(
            forge=forge,
            host=host,
            reach=replace(reach_of(settings), named=_forge_of(settings)),
            signer=CommitSigner(
                ssh_key=Path(settings.github.signing_key) if settings.github.signing_key else None,
                gpg_key=Path(settings.github.signing_gpg_key) if settings.github.signing_gpg_key else None,
            ),
        ),
        now=_now,
        public_url=settings.public_url,
        checks=GitHubChecks(host),
    )


def reviews_of(
    settings: Settings, database: Database, tasks: TaskStore, environments: Environments, host: GitHubHost
) -> Reviews:
    """Return what reviews pull requests."""
    return Reviews(
        tasks=tasks,
        known=SqlReviewStore(database),
        forge=environments.forge,
        host=host,
        board=GitHubReviews(host),
        environments=environments,
        now=_now,
        public_url=settings.public_url,
    )


def access_of(settings: Settings, database: Database) -> Access:
    """Return what knows callers from elsewhere."""
    tokens = Tokens(store=SqlTokenStore(database), now=_now)
    users = Users(store=SqlUserStore(database), rules=settings.oidc.rules if settings.oidc else {}, now=_now)
    sessions = Sessions(
        store=SqlSessionStore(database),
        tokens=tokens,
        users=users,
        lifetime=timedelta(seconds=settings.session_lifetime),
        idle=timedelta(seconds=settings.session_idle),
        now=_now,
    )
    audit = Audit(store=SqlAuditStore(database), now=_now)
    return Access(
        tokens=tokens,
        sessions=sessions,
        audit=audit,
        users=users,
        provider=_provider(settings),
        public_url=settings.public_url,
    )


def _provider(settings: Settings) -> IdentityProvider | None:
    if (table := settings.oidc) is None:
        return None
    from cloister.identity.oidc import OidcClient, OidcProvider  # no start waits for it that does not need it

    client = OidcClient(
        issuer=table.issuer,
        client_id=table.client_id,
        client_secret=table.secret(),
        scopes=table.scopes,
        role_claim=table.role_claim,
        name_claim=table.name_claim,
    )
    return OidcProvider(client, authorities=read_certificates(settings.authorities))


def _agents(settings: Settings) -> Mapping[str, Agent]:
    """Return by name those that are known, and those of the settings. UsageError when one would hide another."""
    known: Sequence[Agent] = (
        AiderAgent(),
        CheckAgent(),
        ClaudeAgent(),
        CodexAgent(),
        CommandAgent(),
        GeminiAgent(),
        MiniSweAgent(),
        OpencodeAgent(),
    )
    agents = {agent.name: agent for agent in known}
    for name, table in settings.agents.items():
        if name in (*agents, SHELL):
            raise UsageError(f"agents.{name}: there is an agent of that name already; call yours otherwise")
        agents[name] = ConfiguredAgent(
            name=name, command_line=table.command, api=table.api, output=table.output, variables=table.variables
        )
    return agents


def _room_for_snapshots(settings: Settings) -> int:
    if settings.snapshots_size is not None:
        return settings.snapshots_size
    return shutil.disk_usage(settings.state).total // _SHARE_OF_SNAPSHOTS


def _upstreams(settings: Settings) -> Upstreams:
    for host, given in settings.upstreams.addresses.items():
        reason = classify(ip_address(given.address), [ip_network(given.address)])
        if reason is not None:
            raise UsageError(
                f"upstream_addresses: {host} cannot be at {given.address}: {reason}",
                hint="give an address of the service on its network",
            )
    return settings.upstreams


def _providers(settings: Settings) -> tuple[ModelProvider, ...]:
    for provider in settings.providers:
        if provider.base.is_own_address and (reason := classify_own(ip_address(provider.base.host))) is not None:
            raise UsageError(
                f"models.{provider.name}: base cannot be at {provider.base.host}: {reason}",
                hint="give an address of the service on its network",
            )
    return settings.providers


def _egress_process(settings: Settings, authority: Authority, authorities: str) -> EgressProcess:
    return EgressProcess(
        EgressSettings(
            allow_private=tuple(map(str, settings.allow_private)),
            authorities=authorities,
            upstreams=_upstreams(settings),
            ceiling=settings.ceiling,
            authority=authority,
        ),
        registries=partial(registries_of_host, settings.state / "registries.json"),
        uid=settings.egress_uid,
        gid=settings.egress_uid,
    )


def _open_instruments(
    settings: Settings, stack: AsyncExitStack, database: Database, *, shown: bool
) -> "Instruments | None":
    """Return what counts; where nobody wants the numbers, nothing is loaded for them."""
    is_sent = settings.otlp_endpoint or any(name.startswith("OTEL_EXPORTER_OTLP") for name in os.environ)
    if not shown and settings.metrics_listen is None and not is_sent:
        return None
    from cloister.telemetry.instruments import open_instruments

    opened = open_instruments(
        settings.metrics_listen,
        partial(read_queue_depth, database),
        SqlTaskStore(database),
        collector=settings.otlp_endpoint,
    )
    return stack.enter_context(opened)


def _measure_nothing(_: Database) -> None:
    return None


def _now() -> datetime:
    return datetime.now(UTC)


async def _cancel_unowned(tools: Tools, notary: Notary) -> int:
    cancelled = 0
    while attempt := await tools.queue.claim_unowned():
        outcome = Outcome(verdict=Verdict.CANCELLED, reason="no living worker had it, and `cloister clean` ended it")
        await final_disk.forget(attempt, catalog=tools.catalog, backend=tools.backend)
        await tools.queue.finish(attempt, outcome, await notary.sign(attempt, outcome))
        cancelled += 1
    return cancelled
