"""Everything that is measured in one process, opened together."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
import structlog

from cloister.errors import CloisterError
from cloister.protocols import AttemptQueue, Egress, TaskStore
from cloister.telemetry.deliveries import DeliveryCounters
from cloister.telemetry.egress import CountedEgress, EgressCounters
from cloister.telemetry.exporters import Measuring, open_meter, open_tracer
from cloister.telemetry.tasks import TaskCounters
from cloister.telemetry.traces import TaskTracer
from cloister.telemetry.watched_queue import WatchedQueue

DEPTH_SECONDS = 15.0
"""How old the number of attempts that wait may be, for who fetches it elsewhere than from the server."""

_log = structlog.get_logger(__name__)


class BreakableEgress(Egress, Protocol):
    """An egress that says when all that was open is lost."""

    when_broken: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """What counts, and shows what it has counted."""

    deliveries: DeliveryCounters
    """Told by who takes deliveries."""
    _measuring: Measuring
    _egress: EgressCounters
    _tasks: TaskCounters
    _tracer: TaskTracer | None
    _read_depth: Callable[[], Awaitable[Mapping[str, int]]]

    def watch_egress(self, egress: BreakableEgress) -> Egress:
        """Return an egress that is counted."""
        egress.when_broken = self._egress.forget_all
        return CountedEgress(egress, self._egress)

    def watch_queue(self, queue: AttemptQueue) -> AttemptQueue:
        """Return a queue that is counted."""
        return WatchedQueue(queue, [self._tasks, *([self._tracer] if self._tracer else [])])

    async def page(self, accept: str) -> tuple[bytes, str]:
        """Return all numbers as they are now, and their media type."""
        self._tasks.depth = await self._read_depth()
        return self._measuring.page(accept)

    async def keep_depth(self) -> None:
        """Look how many attempts wait, again and again."""
        while True:
            try:
                self._tasks.depth = await self._read_depth()
            except CloisterError as error:
                _log.warning("the queue's depth could not be read", error=str(error))
            await anyio.sleep(DEPTH_SECONDS)


@contextmanager
def open_instruments(
    listen: tuple[str, int] | None,
    read_depth: Callable[[], Awaitable[Mapping[str, int]]],
    store: TaskStore,
    *,
    collector: str | None = None,
) -> Iterator[Instruments]:
    """Measure until the block is left; see `open_meter` and `open_tracer`."""
    with open_meter(listen, collector) as measuring, open_tracer(store, collector) as tracer:
        yield Instruments(
            deliveries=DeliveryCounters(measuring.meter),
            _measuring=measuring,
            _egress=EgressCounters(measuring.meter),
            _tasks=TaskCounters(measuring.meter),
            _tracer=tracer,
            _read_depth=read_depth,
        )
