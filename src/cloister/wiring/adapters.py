"""The real parts of an installation, opened: what keeps, fetches, runs and carries."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloister.egress.authority import load_authority
from cloister.forges.github.host import GitHubHost
from cloister.forges.local import LocalForge
from cloister.protocols import Agent, AttemptQueue, Egress, FileStore, Vault
from cloister.queues.embedded import EmbeddedQueue
from cloister.sandboxes.oci.backend import OciBackend, open_backend
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.packs import OciAgentPacks
from cloister.settings import Settings
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.kept_files import DirectoryFileStore
from cloister.stores.publications import SqlPublicationStore
from cloister.stores.secrets import SqlSecretStore
from cloister.stores.snapshots import SqlSnapshotCatalog
from cloister.stores.tasks import SqlTaskStore
from cloister.vault.keys import KeyFile
from cloister.vault.signing import SigningKeyFile
from cloister.vault.vault import SealedVault
from cloister.wiring.agents import agents_of
from cloister.wiring.forge import open_host
from cloister.wiring.network import egress_process_of, reach_of_forge

if TYPE_CHECKING:
    from cloister.telemetry.instruments import Instruments


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """What is behind the protocols, besides what `database` is asked for."""

    database: Database
    tasks: SqlTaskStore
    queue: AttemptQueue
    catalog: SqlSnapshotCatalog
    files: FileStore
    vault: Vault
    host: GitHubHost
    forge: LocalForge
    images: OciImageStore
    packs: OciAgentPacks
    backend: OciBackend
    egress: Egress
    has_egress: Callable[[], bool]
    """Whether the process behind `egress` is there."""
    agents: Mapping[str, Agent]


async def open_adapters(
    settings: Settings,
    stack: AsyncExitStack,
    database: Database,
    authorities: str,
    instruments: "Instruments | None",
    *,
    asked_only: bool,
) -> Adapters:
    """Open them, until `stack` is left.

    `authorities` are certificates in PEM that may vouch for upstreams; what the parts do is counted by `instruments`.
    `asked_only` as for `open_application`.
    """
    authority = load_authority(settings.state)
    egress = await stack.enter_async_context(egress_process_of(settings, authority, authorities, early=not asked_only))
    images = OciImageStore(settings.state)
    trusted = authority.certificate + authorities
    backend = await stack.enter_async_context(
        open_backend(settings.state, images, runtime=settings.runtime, authorities=trusted)
    )
    queue = await stack.enter_async_context(
        EmbeddedQueue.open(SqlLedger(database), settings.state / "workers", settings.running_limits)
    )
    vault = SealedVault(
        SqlSecretStore(database), KeyFile(settings.master_key_path), SigningKeyFile(settings.record_key_path)
    )
    host = await stack.enter_async_context(open_host(settings, vault))
    return Adapters(
        database=database,
        tasks=SqlTaskStore(database, settings.running_limits),
        queue=queue if instruments is None else instruments.watch_queue(queue),
        catalog=SqlSnapshotCatalog(database),
        files=DirectoryFileStore(settings.state / "files"),
        vault=vault,
        host=host,
        forge=_forge_of(settings, database, host),
        images=images,
        packs=OciAgentPacks(settings.state),
        backend=backend,
        egress=egress if instruments is None else instruments.watch_egress(egress),
        has_egress=lambda: egress.pid is not None,
        agents=agents_of(settings),
    )


def _forge_of(settings: Settings, database: Database, host: GitHubHost) -> LocalForge:
    return LocalForge(
        settings.state,
        ssh_config=settings.ssh_config,
        reach=reach_of_forge(settings),
        host=host,
        most_large_bytes=settings.large_files,
        adopted=SqlPublicationStore(database).adopted_commits,
    )
