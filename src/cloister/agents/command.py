"""The agent that is a plain command line."""

from cloister.errors import UsageError
from cloister.model.task import Task
from cloister.protocols import Agent


class CommandAgent:
    """Runs the task's command line in bash; its exit status is the verdict, its output is output."""

    name = "command"

    def command_line(self, task: Task) -> tuple[str, ...]:
        """Not a login shell, so that what variables say of PATH stays said."""
        if task.command is None:
            raise UsageError("the agent `command` needs a command line")
        return ("/bin/bash", "-c", task.command)


_: type[Agent] = CommandAgent
