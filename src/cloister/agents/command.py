"""The agent that is a plain command line."""

from cloister.errors import UsageError
from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PackRecipe
from cloister.protocols import Agent


class CommandAgent:
    """Runs the task's command line in bash; its exit status is the verdict, its output is output."""

    name = "command"
    api: ModelApi | None = None
    pack: PackRecipe | None = None

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Not a login shell, so that what variables say of PATH stays said. It reads what was asked, word by word."""
        if turn.task.command is None:
            raise UsageError("the agent `command` needs a command line")
        prompt = "\n\n".join(filter(None, (turn.conversation, turn.prompt)))
        variables = turn.access.variables if turn.access is not None else {}
        return AgentCommand(argv=("/bin/bash", "-c", turn.task.command), prompt=prompt, variables=variables)

    def parser(self) -> None:
        """What a command prints is output."""


_: type[Agent] = CommandAgent
