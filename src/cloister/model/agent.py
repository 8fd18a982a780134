"""What an agent is asked in one turn, and the program that it becomes in the sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloister.model.model_access import ModelAccess
from cloister.model.task import Task

INPUT = "/cloister/in"
"""Where an agent's program finds its files; nobody in the sandbox can write there."""

_ASK = """\
This wants an answer, and no change: the work tree is read-only, and nothing that you write elsewhere is kept. The
answer is your last message, or what you write to /cloister/out/message.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentTurn:
    """All that an agent is given for one answer."""

    task: Task
    prompt: str
    """What was asked, and in a later round which checks failed."""
    briefing: str = ""
    """Where the agent works: its checks, its network, and what is absent and why. Empty where nobody reads it."""
    ask: bool = False
    """An answer is wanted, and no change."""
    files: tuple[str, ...] = ()
    """Files that came with the prompt, as the sandbox sees them."""
    images: tuple[str, ...] = ()
    """Those of them that are pictures."""
    session: str | None = None
    """What the agent itself called its conversation of the former turn, on whose disk it works; None begins one."""
    conversation: str = ""
    """The former turns as text, for an agent or a disk that does not remember them."""
    access: ModelAccess | None = None
    """How its program reaches the model; None for one that needs none."""

    @property
    def text(self) -> str:
        """Return everything as one prompt, for an agent that takes no more than that."""
        parts = (self.conversation, self.prompt, self._given, _ASK if self.ask else "", self.briefing)
        return "\n\n".join(part for part in parts if part)

    @property
    def _given(self) -> str:
        """Where the files are that came with the prompt."""
        if not self.files:
            return ""
        named = [f"- {path}{' (a picture)' if path in self.images else ''}" for path in self.files]
        return "\n".join(["Files that came with this, read-only:", *named])


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCommand:
    """The program that does a turn's work."""

    argv: tuple[str, ...]
    prompt: str
    """What it reads on standard input, and in CLOISTER_PROMPT_FILE."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Over those of the environment."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Configuration to see in INPUT, by name."""
