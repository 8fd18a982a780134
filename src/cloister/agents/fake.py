"""An agent that does nothing, for tests of what comes before it."""

from dataclasses import dataclass

from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PackRecipe
from cloister.protocols import Agent, AgentParser


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeAgent:
    """Ends at once. A turn without the access that it needs is an AssertionError."""

    name: str
    api: ModelApi | None = None
    pack: PackRecipe | None = None

    def command(self, turn: AgentTurn) -> AgentCommand:
        """See `protocols.Agent`."""
        assert (turn.access is None) == (self.api is None), f"the access of {self.name!r} is {turn.access}"
        return AgentCommand(argv=("true",), prompt=turn.text)

    def parser(self) -> AgentParser | None:
        """See `protocols.Agent`."""
        return None


def _conforms(agent: FakeAgent) -> Agent:
    return agent
