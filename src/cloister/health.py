"""Whether this installation can carry out tasks, for load balancers and supervisors to ask."""

import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from cloister.errors import CloisterError

LEAST_FREE_BYTES = 512 * 1024**2
"""Of the state directory's file system: with less, setup soon fails."""
LONGEST_SECONDS = 5.0
"""For the database to answer."""

WELL = "ok"


@dataclass(slots=True, kw_only=True)
class Health:
    """What readiness consists of."""

    state: Path
    look_at_database: Callable[[], Awaitable[object]]
    has_egress: Callable[[], bool]
    """Whether the egress process runs."""
    working: int = field(default=0, init=False)
    is_draining: bool = field(default=False, init=False)
    """Whether what runs may end, and nothing new starts."""

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A worker runs as long as the context is open."""
        self.working += 1
        try:
            yield
        finally:
            self.working -= 1

    async def look(self) -> Mapping[str, str]:
        """Return by part `ok`, or what is wrong with it, in words that give nothing away."""
        return {
            "database": await self._look_at_database(),
            "worker": self._look_at_worker(),
            "egress": WELL if self.has_egress() else "its process does not run",
            "disk": self._look_at_disk(),
        }

    async def _look_at_database(self) -> str:
        with anyio.move_on_after(LONGEST_SECONDS):
            try:
                await self.look_at_database()
            except CloisterError:
                return "cannot be read"
            return WELL
        return "does not answer"

    def _look_at_worker(self) -> str:
        if self.is_draining:
            return "takes no more attempts"
        return WELL if self.working else "does not run"

    def _look_at_disk(self) -> str:
        try:
            free = shutil.disk_usage(self.state).free
        except OSError:
            return "cannot be read"
        return WELL if free >= LEAST_FREE_BYTES else f"less than {LEAST_FREE_BYTES // 1024**2} MiB are free"
