"""What an agent cannot do without: a way to a model, and sometimes its name."""

from cloister.errors import UsageError
from cloister.model.agent import AgentTurn
from cloister.model.model_access import ModelAccess

READ_AGENTS_MD = (
    "Files named AGENTS.md say how to work in this repository. Before you begin, read the one at its root, and "
    "of those below it the nearest to each file that you change."
)
"""For agents that do not look for them by themselves."""


def access_of(turn: AgentTurn, agent: str) -> ModelAccess:
    """Return how the turn's model is reached. UsageError when nobody said."""
    if turn.access is None:
        raise UsageError(f"the agent {agent!r} needs a model, and this task has none")
    return turn.access


def model_of(access: ModelAccess, agent: str) -> str:
    """Return the model's name. UsageError when nobody gave one: this agent has no choice of its own."""
    if access.model is None:
        raise UsageError(
            f"the agent {agent!r} needs the name of a model, and the provider {access.provider!r} names none",
            hint="name one in the settings of the provider",
        )
    return access.model
