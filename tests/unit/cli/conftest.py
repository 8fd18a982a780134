"""Commands against an installation whose sandboxes are scripted, and whose git, database and vault are real."""

import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cloister import wiring, worker
from cloister.agents.command import CommandAgent
from cloister.agents.fake import FakeAgent
from cloister.cli.main import app
from cloister.egress.fake import FakeEgress
from cloister.egress.outgoing import GuardedSender
from cloister.environments import Environments
from cloister.forges.github.host import GitHubHost
from cloister.forges.local import LocalForge
from cloister.health import Health
from cloister.intake import Intake
from cloister.model.image import Image
from cloister.model.network import EgressRecord
from cloister.model.pack import PackRecipe
from cloister.model.phase import Phase
from cloister.model.sandbox import DiffStats
from cloister.model.snapshot_export import Export
from cloister.model_roster import ModelRoster
from cloister.queues.embedded import EmbeddedQueue
from cloister.reaper import SnapshotReaper
from cloister.sandboxes.fake import FakeBackend, FakeNode, Print, Program
from cloister.sandboxes.fake_export import FakeSnapshotExporter, every_host
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.sandboxes.fake_packs import FakeAgentPacks
from cloister.settings import Settings
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.environments import SqlEnvironmentStore
from cloister.stores.kept_files import DirectoryFileStore
from cloister.stores.publications import SqlPublicationStore
from cloister.stores.secrets import SqlSecretStore
from cloister.stores.snapshots import SqlSnapshotCatalog
from cloister.stores.tasks import SqlTaskStore
from cloister.tools import Tools
from cloister.vault.keys import KeyFile
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault

from ...fresh_database import put_database

AGENTS = (CommandAgent(), FakeAgent(name="robot", pack=PackRecipe(name="robot", version="1", program="run", needs="")))
DIFF = b"diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"


class BuiltImages(FakeImageStore):
    """Every image was built before."""

    async def list(self) -> Sequence[Image]:
        await self.ensure("base")
        return await super().list()


async def _find_on_this_machine(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@dataclass
class Installation:
    """What the commands find."""

    state: Path
    project: Path
    """A work tree with one commit: `a.txt`, which says "one"."""
    node: FakeNode
    decisions: dict[Phase, Sequence[EgressRecord]] = field(default_factory=dict)
    on_call: Callable[[str, str], Awaitable[None]] | None = None
    """Told of each call to a sandbox, before it takes effect."""
    egress_is_gone: bool = False
    find: Callable[[str, int], Awaitable[Sequence[str]]] = _find_on_this_machine
    """Where receivers of webhooks are."""
    pushed: list[Export] = field(default_factory=list)
    """Snapshots that were exported."""

    def run(self, *arguments: str, stdin: str | bytes | None = None) -> Result:
        """Run one command, as in a process of its own."""
        return CliRunner().invoke(app, arguments, input=stdin)

    def git(self, *arguments: str) -> str:
        """Run git in the project."""
        names = ("-c", "user.name=A", "-c", "user.email=a@example.com")
        return subprocess.run(
            ["git", *names, *arguments], cwd=self.project, check=True, capture_output=True, text=True
        ).stdout


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    program = Program(steps=[Print(data=b"working\n")], leaves={"/cloister/out/message.md": b"I fixed it."})
    node = FakeNode(programs={"agent": program}, diff=DIFF, stats=DiffStats(files=1, added=1, removed=1))
    made = Installation(state=tmp_path / "state", project=tmp_path / "project", node=node)
    made.project.mkdir()
    made.git("init", "--quiet", "--initial-branch=main")
    (made.project / "a.txt").write_text("one\n")
    made.git("add", ".")
    made.git("commit", "--quiet", "--message=one")
    monkeypatch.chdir(made.project)
    monkeypatch.setenv("CLOISTER_STATE", str(made.state))
    monkeypatch.delenv("CLOISTER_DEBUG", raising=False)
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.01)
    monkeypatch.setattr(wiring, "open_application", _opener(made))
    return made


def _opener(made: Installation) -> Callable[..., Any]:
    @asynccontextmanager
    async def open_application(settings: Settings, **_: bool) -> AsyncIterator[wiring.Application]:
        put_database(settings.state / "cloister.db")
        async with (
            Database.open(settings.state / "cloister.db") as database,
            EmbeddedQueue.open(SqlLedger(database), settings.state / "workers", settings.running_limits) as queue,
            wiring.open_host(settings, _vault(settings, database)) as host,
        ):
            yield _application(made, settings, database, queue, host)

    return open_application


def _vault(settings: Settings, database: Database) -> SealedVault:
    return SealedVault(
        SqlSecretStore(database), KeyFile(settings.master_key_path), SigningKeyFile(settings.record_key_path)
    )


async def _keep_none(_: int) -> None:
    """Sandboxes of a script need nothing in advance."""


def _application(
    made: Installation, settings: Settings, database: Database, queue: EmbeddedQueue, host: GitHubHost
) -> wiring.Application:
    images = BuiltImages(made.node)
    backend = FakeBackend(made.node, on_call=made.on_call)
    forge = LocalForge(settings.state, host=host, adopted=SqlPublicationStore(database).adopted_commits)
    vault = _vault(settings, database)
    catalog = SqlSnapshotCatalog(database)
    packs = FakeAgentPacks()
    files = DirectoryFileStore(settings.state / "files")
    environments = Environments(
        store=SqlEnvironmentStore(database), forge=forge, vault=vault, now=lambda: datetime.now(UTC)
    )
    intake = Intake(
        store=SqlTaskStore(database, settings.running_limits),
        queue=queue,
        forge=forge,
        vault=vault,
        environments=environments,
        images=images,
        catalog=catalog,
        backend=backend,
        exporter=FakeSnapshotExporter(made.pushed),
        check_host=every_host,
        agents={agent.name: agent for agent in AGENTS},
        packs=packs,
        files=files,
        models=ModelRoster(vault=vault, providers=settings.providers),
        host=host,
        pull_requests=wiring.pull_requests_of(settings, database, SqlTaskStore(database), forge, host),
        reviews=wiring.reviews_of(settings, database, SqlTaskStore(database), environments, host),
        numbers=SqlTaskStore(database),
        now=lambda: datetime.now(UTC),
        ceiling=settings.ceiling,
    )
    tools = Tools(
        queue=queue,
        images=images,
        forge=forge,
        vault=vault,
        catalog=catalog,
        backend=backend,
        egress=FakeEgress(made.decisions),
        agents={agent.name: agent for agent in AGENTS},
        packs=packs,
        files=files,
        models=ModelRoster(vault=vault, providers=settings.providers),
    )
    reaper = SnapshotReaper(catalog, backend, most_bytes=2**40, now=lambda: datetime.now(UTC))
    return wiring.Application(
        intake=intake,
        access=wiring.access_of(settings, database),
        automation=wiring.automation_of(settings, database, intake, GuardedSender(made.find)),
        images=images,
        agents=tools.agents,
        packs=tools.packs,
        tools=tools,
        backend=backend,
        reaper=reaper,
        keep_spares=_keep_none,
        settings=settings,
        health=Health(
            state=settings.state, look_at_database=tools.catalog.list, has_egress=lambda: not made.egress_is_gone
        ),
    )
