"""A request for a task, as a caller makes it; nothing in it has been checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloister.model.fairness import Priority
from cloister.model.finding import FindingPriority
from cloister.model.given import Upload
from cloister.model.network import NetworkMode
from cloister.model.review import ReviewAsk
from cloister.model.secret import SecretValue
from cloister.model.task import Shell
from cloister.model.trace import TraceParent


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentText:
    """An environment file that came with a request."""

    source: str
    """Its name, for messages."""
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentName:
    """A stored environment."""

    name: str
    version: int | None = None
    """None is the newest."""


EnvironmentChoice = EnvironmentText | EnvironmentName
"""What a user chose, and answers for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryFile:
    """The environment file of a repository's commit, to be stored."""

    repository: str
    ref: str | None = None
    """Branch, tag, full or short commit; None is the default branch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked."""

    repository: str
    """An absolute path, or a file, http or https URL."""
    prompt: str
    guarded: bool = True
    """Whether it has to be at a public address, or where settings let it be: unless this machine's owner names it."""
    ref: str | None = None
    """Branch, tag, full or short commit; None is the default branch."""
    foreign: bool = False
    """A pull request of a fork asks for it: it is nobody's of the repository, even where a branch has that commit."""
    environment: EnvironmentChoice | None = None
    """None takes the repository's own file, or else the defaults."""
    agent: str | None = None
    """None takes the environment's agent, or `command` when there is a command."""
    model: str | None = None
    """The provider that answers the agent, and its model: `openai/gpt-5`; None is as the environment says."""
    command: str | None = None
    """A command line for the agent `command`."""
    attempts: int = 1
    patch: bytes | None = None
    """A starting diff."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Over those of the environment."""
    secrets: Mapping[str, SecretValue] = field(default_factory=dict)
    """For this task alone; over those of the vault."""
    internet: NetworkMode | None = None
    """The agent's network; None is as the environment says."""
    allow: tuple[str, ...] = ()
    """Domains or presets that the agent may reach too."""
    use_cache: bool = True
    shell: Shell | None = None
    """A shell for the user, in place of an agent."""
    ask: bool = False
    """An answer is wanted, and no change."""
    review: ReviewAsk | None = None
    """Findings are wanted; see `reviews`."""
    files: tuple[Upload, ...] = ()
    """What comes with the prompt."""
    trace_parent: TraceParent | None = None
    """The span of the caller's that asks."""
    priority: Priority = Priority.NORMAL
    """High takes a role of its own, see `api.front`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRequest:
    """A request for a review; nothing in it has been checked."""

    repository: str
    """Address."""
    number: int
    """Of the pull request."""
    focus: str = ""
    """What to look for above all."""
    lowest: FindingPriority | None = None
    """Findings that matter less are left out; None is as the environment says."""
    incremental: bool = False
    """Only what came since the last review that was posted."""
    post: bool = False
    """By the server, as soon as it is done."""
    environment: EnvironmentChoice | None = None
    agent: str | None = None
    model: str | None = None
    command: str | None = None
    guarded: bool = True
    """As of `Request`."""
