"""The parts that attempts are run with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cloister.model.ceiling import UNBOUNDED, Ceiling
from cloister.model_roster import ModelRoster
from cloister.protocols import (
    Agent,
    AgentPacks,
    AttemptQueue,
    Egress,
    FileStore,
    Forge,
    ImageStore,
    SandboxBackend,
    SnapshotCatalog,
    Vault,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The parts that attempts are run with; see `protocols`."""

    queue: AttemptQueue
    images: ImageStore
    forge: Forge
    vault: Vault
    catalog: SnapshotCatalog
    backend: SandboxBackend
    egress: Egress
    agents: Mapping[str, Agent]
    packs: AgentPacks
    files: FileStore
    on_kept: Callable[[], None] = lambda: None
    """Told whenever a snapshot was kept."""
    models: ModelRoster
    """Who answers agents."""
    ceiling: Ceiling = UNBOUNDED
    """What environments get of the network at most, as `egress` was told."""
