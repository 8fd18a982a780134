"""Which tasks somebody looks for."""

from dataclasses import dataclass

from cloister.model.task import TaskState, TaskStatus, Verdict

LOOKED_AT = 5000
"""Tasks that one search looks at: it says where it ended, and goes on behind them when it is asked to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """What tasks have to be like. Says nothing by default."""

    environment: str | None = None
    """Its name."""
    state: TaskState | Verdict | None = None
    """A verdict is that of a finished task."""
    text: str = ""
    """Is in the first prompt or in the repository's address, in either case of letters, or begins the id."""
    archived: bool | None = None
    """Whether it was put out of sight."""
    within: int | None = None
    """How many tasks are looked at, from the newest in question on; None: all. See `TaskStore.last_looked_at`."""

    @property
    def is_search(self) -> bool:
        """Whether tasks have to be looked at, one by one, to find those that are meant."""
        return bool(self.text) or self.state is not None

    def matches(self, status: TaskStatus) -> bool:
        """Whether a task is like that."""
        task, text = status.task, self.text.lower()
        return (
            self.archived in (None, status.archived)
            and self.environment in (None, task.environment.name)
            and self.state in (None, status.state, status.verdict if status.state is TaskState.FINISHED else None)
            and (text in task.prompt.lower() or text in task.repository.address.lower() or task.id.startswith(text))
        )


EVERY_TASK = TaskFilter()
IN_SIGHT = TaskFilter(archived=False)
