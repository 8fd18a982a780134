"""What forges tell Cloister of."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from cloister.model.asked import Asked
from cloister.model.inbox import Arrived
from cloister.model.task import TaskId


class InboxStore(Protocol):
    """Deliveries of a forge. Which there were is remembered for ever, what they said until they are worked off."""

    async def add(self, arrived: Arrived) -> bool:
        """Keep a new one; synced to disk when this returns. False when its id, or its body, was there before."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[Arrived]:
        """Those to be looked at by now, oldest first."""
        ...

    async def claim(self, arrived: Arrived, until: datetime) -> bool:
        """Count a trial, and let nobody else try before `until`; False when somebody else did: of several one may."""
        ...

    async def put_off(self, id: str, next_at: datetime, *, tries: int, outcome: str) -> None:
        """Have it looked at again then, as one that was tried so often."""
        ...

    async def finish(self, id: str, outcome: str) -> None:
        """Say what came of it, and forget its body; synced."""
        ...

    async def list(self, *, limit: int) -> Sequence[Arrived]:
        """The newest, newest first."""
        ...


class AskedStore(Protocol):
    """Work that was asked for at a forge."""

    async def find(self, key: str) -> Asked | None:
        """Return what became of it."""
        ...

    async def save(self, asked: Asked) -> None:
        """Keep it in place of what was known; synced to disk when this returns."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[Asked]:
        """Those to be looked at by now, that waited longest first."""
        ...

    async def count(self, *, since: datetime, person: str | None = None, repository: str | None = None) -> int:
        """Return how much was asked for since then, by somebody or in a repository."""
        ...

    async def is_followed(self, task: TaskId) -> bool:
        """Whether somebody is still to be told what came of a turn of that task."""
        ...
