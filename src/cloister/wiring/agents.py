"""Which agents there are."""

from collections.abc import Mapping, Sequence

from cloister.agents.aider import AiderAgent
from cloister.agents.check import CheckAgent
from cloister.agents.claude import ClaudeAgent
from cloister.agents.codex import CodexAgent
from cloister.agents.command import CommandAgent
from cloister.agents.configured import ConfiguredAgent
from cloister.agents.gemini import GeminiAgent
from cloister.agents.mini_swe_agent import MiniSweAgent
from cloister.agents.opencode import OpencodeAgent
from cloister.errors import UsageError
from cloister.model.task import SHELL
from cloister.protocols import Agent
from cloister.settings import Settings


def agents_of(settings: Settings) -> Mapping[str, Agent]:
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
