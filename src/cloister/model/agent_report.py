"""What an agent says that it did, read from its own output: it is the agent's word, and only shown."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A line that its parser does not understand, or that says nothing which the other reports have room for."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The agent spoke to its user. The last one is its answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """What the model lets be seen of its thinking, most often a summary."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandStarted:
    """The agent began to run a command line."""

    number: int
    """Counts the agent's commands from 1, in the order in which they began."""
    command_line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandFinished:
    """A command line of the agent's is over. Formats that tell no start have this alone."""

    number: int
    """The same as of its start."""
    command_line: str
    output: str
    status: int | None
    """None where the agent does not say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUsed:
    """The agent used a tool that is neither a command nor a change of files: a search, a file read, a server."""

    name: str
    text: str
    """What it was given, in the shortest form that says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesChanged:
    """The agent changed files by a tool of its own."""

    paths: tuple[str, ...]
    """As the agent names them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStep:
    """A step of a plan."""

    text: str
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanMade:
    """The agent made a plan, or went on in it: all its steps, anew."""

    steps: tuple[PlanStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFailed:
    """Something went wrong for the agent: a refused request, a tool that failed. It may go on."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensUsed:
    """What the agent says that its model calls took since it last said so."""

    input_tokens: int
    """Those of the prompt, the cached ones among them."""
    cached_input_tokens: int
    output_tokens: int
    """Those of reasoning among them."""
    cost: float | None = None
    """In US dollars, where the agent reckons it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionNamed:
    """The id under which the agent can resume this conversation."""

    session: str


AgentReport = (
    Plain
    | Message
    | Reasoning
    | CommandStarted
    | CommandFinished
    | ToolUsed
    | FilesChanged
    | PlanMade
    | AgentFailed
    | TokensUsed
    | SessionNamed
)
