"""Work that somebody asked for at a forge: what became of it, and who was told."""

from dataclasses import dataclass
from datetime import datetime

from cloister.model.task import Repository, TaskId
from cloister.model.thread import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One mention, label or assignment, once for ever."""

    key: str
    """Of what was written, or of the issue: an edit or a second delivery is the same."""
    repository: Repository
    person: str
    """Login."""
    place: Place
    at: datetime
    task: TaskId | None = None
    """None where there is none: it was refused."""
    turn: int = 1
    pushes_to: str | None = None
    """Branch of the pull request that the change is for; None: a branch of the task's own."""
    from_fork: bool = False
    """The change can be pushed nowhere."""
    answer: Place | None = None
    """Where the person was answered."""
    flags: tuple[str, ...] = ()
    """What in the thread to look at twice."""
    tries: int = 0
    next_at: datetime | None = None
    """When to look at it again; None when it is over."""
    outcome: str = ""
