"""The environment: the named recipe that every attempt of a task is run by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cloister.model.finding import FindingPriority
from cloister.model.network import REGISTRIES, WEB_PORTS, Audit, NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.quantity import GIB, HOUR, MIB, MINUTE
from cloister.model.secret import SecretUse


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupRecipe:
    """How dependencies are installed."""

    script: str | None = None
    """A bash script for a cold environment, run in a session of its own."""
    maintenance: str | None = None
    """A bash script for a warm one, run after the task's ref is checked out."""
    automatic: bool = True
    """Detect package managers when there is no script."""
    timeout_seconds: float = 20 * MINUTE
    residue: str = "refuse"
    """What to do when setup left a secret on disk: refuse, scrub or allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRecipe:
    """Who may be reached in setup and by the agent."""

    setup: NetworkMode = NetworkMode.FULL
    agent: NetworkMode = NetworkMode.OFF
    allow: tuple[str, ...] = ()
    """Limited mode: domains in canonical form; each matches itself and its sub-domains."""
    methods: tuple[str, ...] | None = None
    """HTTP methods in capitals; None is every method."""
    ports: tuple[int, ...] = WEB_PORTS
    deny: tuple[str, ...] = ()
    """Domains as in `allow`, in every mode; they win over it."""
    audit: Audit = Audit.DECISIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one attempt may use. Enforced by the kernel or by a supervisor, never by good will."""

    cpu: float = 2.0
    """Cores."""
    memory_bytes: int = 4 * GIB
    disk_bytes: int = 10 * GIB
    inodes: int = 1_000_000
    """Files, folders and links that the disk may hold, besides those of the image and of a snapshot below."""
    pids: int = 2048
    output_bytes: int = 50 * MIB
    """Standard output and error of one command, together."""
    time_seconds: float = HOUR
    """Wall clock of the whole attempt."""
    stuck_seconds: float | None = None
    """How long the agent may print nothing and compute next to nothing; None is as long as it likes."""
    rounds: int = 1
    """How often failing checks are given back to the agent."""
    tokens: int | None = None
    """Of the agent's model, sent and received together; None bounds nothing."""
    cost: float | None = None
    """Of the agent's model, in US dollars; None bounds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A program started with the agent, in its container, before it."""

    name: str
    command: str
    ready: str | None = None
    """`tcp:PORT` or a command line whose success means ready; None waits for nothing."""
    timeout_seconds: float = MINUTE
    """How long it may take until it is ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A command that must pass in the clean room."""

    name: str
    command: str
    timeout_seconds: float = 10 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRecipe:
    """How pull requests are reviewed. What the branch says counts that they are to be merged into."""

    automatic: bool = False
    """Each, when it is opened or made ready."""
    on_push: bool = False
    """What comes to it later, too."""
    lowest: FindingPriority = FindingPriority.P1
    """Findings that matter less are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The recipe, as a file or the vault's owner wrote it. Frozen with the task that uses it."""

    name: str
    """Selects the vault; by default the repository's address."""
    repository: str | None = None
    """Address of the repository of tasks that name none; it counts in a stored environment alone."""
    image: str = "base"
    agent: str = "codex"
    model: str | None = None
    """Which of the operator's providers answers the agent, and with which model: `openai`, or `openai/gpt-5`."""
    versions: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[SecretUse, ...] = ()
    setup: SetupRecipe = SetupRecipe()
    services: tuple[Service, ...] = ()
    network: NetworkRecipe = NetworkRecipe()
    limits: Limits = Limits()
    checks: tuple[Check, ...] = ()
    cache_ttl_seconds: float = 12 * HOUR
    review: ReviewRecipe = ReviewRecipe()

    def policy(self, phase: Phase, registries: Sequence[str] = ()) -> NetworkPolicy:
        """The network policy of a phase; every phase but setup and agent has none at all.

        `registries`, those of the image, are allowed where REGISTRIES is, which stays for those of the node.
        """
        mode = {Phase.SETUP: self.network.setup, Phase.AGENT: self.network.agent}.get(phase, NetworkMode.OFF)
        return NetworkPolicy(
            mode=mode,
            phase=phase,
            environment=self.name,
            allow=(*self.network.allow, *(registries if REGISTRIES in self.network.allow else ())),
            methods=self.network.methods,
            ports=self.network.ports,
            deny=self.network.deny,
            audit=self.network.audit,
        )
