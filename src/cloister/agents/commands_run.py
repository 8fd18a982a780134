"""Numbers the commands of a run, by what the agent calls them."""

from collections.abc import Sequence

from cloister.model.agent_report import AgentReport, CommandFinished, CommandStarted

_MOST_RUNNING = 1000
"""Commands that have begun and not ended; older ones are forgotten, since whoever writes the output may lie."""


class CommandsRun:
    """The commands that an agent began and ended."""

    def __init__(self) -> None:
        self._count = 0
        self._running: dict[str, CommandStarted] = {}

    def start(self, id: str, command_line: str) -> Sequence[AgentReport]:
        """Return the report of a command that began; none when it had begun."""
        if id in self._running:
            return []
        self._count += 1
        started = CommandStarted(number=self._count, command_line=command_line)
        if len(self._running) == _MOST_RUNNING:
            self._running.pop(next(iter(self._running)))
        self._running[id] = started
        return [started]

    def has(self, id: str) -> bool:
        """Whether that command has begun and not ended."""
        return id in self._running

    def finish(self, id: str, command_line: str, output: str, status: int | None) -> Sequence[AgentReport]:
        """Return the reports of a command that ended, its start among them when nobody told that."""
        begun = [] if id in self._running else self.start(id, command_line)
        started = self._running.pop(id)
        ended = CommandFinished(
            number=started.number, command_line=command_line or started.command_line, output=output, status=status
        )
        return [*begun, ended]
