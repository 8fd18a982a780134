"""One run of an attempt: what each of its steps needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import anyio

from cloister.ending import Ending
from cloister.errors import TaskFailedError
from cloister.journal import Journal
from cloister.model.secret import DeliveredSecrets, Grant
from cloister.model.task import Attempt, Task
from cloister.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRun:
    """An attempt under way, with the parts that it is run with."""

    attempt: Attempt
    tools: Tools
    journal: Journal
    ending: Ending
    secrets: DeliveredSecrets
    """For the scripts of setup alone."""
    grants: Sequence[Grant]
    """Brokered secrets: for the proxy alone."""
    ends_at: float
    """A time of the event loop."""

    @property
    def task(self) -> Task:
        """The attempt's task."""
        return self.attempt.task

    @property
    def placeholders(self) -> Mapping[str, str]:
        """What the sandbox has in place of each brokered secret, by the secret's name."""
        return {grant.name: grant.placeholder for grant in self.grants}

    @property
    def grants_of_agent(self) -> Sequence[Grant]:
        """Those that are used where the task's commit is: none where no person vouches for that.

        What is in a fork, or what an agent wrote, could ask the proxy for whatever they open.
        """
        return () if self.task.revision.foreign else self.grants

    def seconds_left(self) -> float:
        """Return how long it may still go on. TaskFailedError when its time is up."""
        left = self.ends_at - anyio.current_time()
        if left <= 0:
            raise TaskFailedError("limits.time was used up before the agent started")
        return left
