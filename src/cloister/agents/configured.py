"""An agent of the operator's own: a command line of the settings, that an image brings the program for."""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cloister.agents.claude_output import ClaudeOutput
from cloister.agents.codex_output import CodexOutput
from cloister.agents.gemini_output import GeminiOutput
from cloister.agents.needed import access_of
from cloister.agents.opencode_output import OpencodeOutput
from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PackRecipe
from cloister.protocols import Agent, AgentParser

_PARSERS: Mapping[str, Callable[[], AgentParser]] = {
    "claude": ClaudeOutput,
    "codex": CodexOutput,
    "gemini": GeminiOutput,
    "opencode": OpencodeOutput,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAgent:
    """Runs a command line in bash; the whole prompt is on its standard input and in CLOISTER_PROMPT_FILE."""

    name: str
    command_line: str
    """`{model}`, `{base_url}`, `{key}` and `{session}` in it are replaced by quoted words."""
    api: ModelApi | None = None
    output: str = "plain"
    """Whose output it prints: plain, or that of an agent which is known."""
    variables: Mapping[str, str] = field(default_factory=dict)
    pack: PackRecipe | None = None

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Return the command line, with the words of the turn; the usual variables of its protocol are set."""
        access = access_of(turn, self.name) if self.api is not None else None
        words = {
            "model": (access.model or "") if access else "",
            "base_url": access.base_url if access else "",
            "key": access.placeholder if access else "",
            "session": turn.session or "",
        }
        line = re.sub(
            r"\{(model|base_url|key|session)\}", lambda found: shlex.quote(words[found[1]]), self.command_line
        )
        return AgentCommand(
            argv=("/bin/bash", "-c", line),
            prompt=turn.text,
            variables={**(access.variables if access else {}), **self.variables},
        )

    def parser(self) -> AgentParser | None:
        """See `protocols.Agent`."""
        parser = _PARSERS.get(self.output)
        return parser() if parser is not None else None


def _conforms(agent: ConfiguredAgent) -> Agent:
    return agent
