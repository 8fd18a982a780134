"""What forges tell of is kept at once, and worked off afterwards: it is not lost, and it is done once."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

import anyio
import structlog
from anyio.abc import TaskGroup

from cloister.errors import CloisterError, DeniedError, RateLimitError, UsageError
from cloister.model.inbox import Arrived
from cloister.protocols import InboxStore
from cloister.triggers.handling import Handled, Handler, LaterError
from cloister.triggers.inbox_watcher import InboxWatcher, Unwatched
from cloister.triggers.signature import WebhookSecrets
from cloister.triggers.slow_lane import SlowLane

FIRST_PAUSE_SECONDS = 5.0
MOST_TRIES = 10
"""Over about a day, see `_pause`."""
MOST_AT_ONCE = 8
"""Beside those in the slow lane."""
LOOK_SECONDS = 2.0
CLAIM_SECONDS = 120.0
"""After so long a delivery that nobody finished is another's: who worked at it was killed."""
_LONGEST_PAUSE_SECONDS = 6 * 3600.0
_log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Inbox:
    """The part of the front door that forges call."""

    store: InboxStore
    secrets: WebhookSecrets
    now: Callable[[], datetime]
    """Aware, UTC."""
    load: Callable[[], Sequence[Handler]] = tuple
    """Returns the handlers, once they are needed."""
    watcher: InboxWatcher = field(default_factory=Unwatched)
    slow: SlowLane = field(default_factory=SlowLane)
    """Where handlers do what takes long."""
    arriving: int = field(default=0, init=False)
    """Bytes of deliveries that nobody has judged yet."""
    _under_way: set[str] = field(default_factory=set, init=False)
    _woken: anyio.Event = field(default_factory=anyio.Event, init=False)

    def __post_init__(self) -> None:
        """Begin with others as soon as one goes aside."""
        self.slow.on_entered = self._wake

    @cached_property
    def handlers(self) -> Sequence[Handler]:
        """Those that work off deliveries."""
        return self.load()

    @property
    def kinds(self) -> frozenset[str]:
        """Of events that anything is done about."""
        return frozenset[str]().union(*(handler.kinds for handler in self.handlers))

    async def take(self, id: str, kind: str, body: bytes) -> bool:
        """Keep a delivery whose signature is right, to be worked off; synced when this returns.

        False for one that was taken before, under whatever id.
        """
        now = self.now()
        digest = hashlib.sha256(body).hexdigest()
        arrived = Arrived(id=id, kind=kind, body=body, digest=digest, arrived_at=now, next_at=now)
        is_new = await self.store.add(arrived)
        self.watcher.arrived("taken" if is_new else "known", kind)
        self._woken.set()
        return is_new

    async def run(self) -> None:
        """Work off what is due, until cancelled. Nothing that fails ends it."""
        async with anyio.create_task_group() as group:
            while True:
                self._woken = anyio.Event()
                try:
                    await self.work_off(group)
                except CloisterError as error:
                    _log.error("the inbox could not be looked at", error=str(error))
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._woken.wait()

    async def work_off(self, group: TaskGroup) -> None:
        """Begin with what is due, as much as may be at once."""
        if not self._has_room:
            return
        now = self.now()
        for arrived in await self.store.due(now, limit=MOST_AT_ONCE + len(self._under_way)):
            if not self._has_room:
                return
            if arrived.id in self._under_way:
                continue
            if await self.store.claim(arrived, now + timedelta(seconds=CLAIM_SECONDS)):
                self._under_way.add(arrived.id)
                if not arrived.tries and not arrived.outcome:
                    self.watcher.begun((self.now() - arrived.arrived_at).total_seconds())
                group.start_soon(self._work_off, arrived)

    @property
    def _has_room(self) -> bool:
        return len(self._under_way) - len(self.slow) < MOST_AT_ONCE

    def _wake(self) -> None:
        self._woken.set()

    async def _work_off(self, arrived: Arrived) -> None:
        tries = arrived.tries + 1
        try:
            outcome = await self._handle(arrived)
            await self.store.finish(arrived.id, outcome)
        except (LaterError, RateLimitError) as error:  # when, is told; nothing is wrong with it
            await self._put_off(arrived, error, seconds=error.seconds, tries=arrived.tries)
        except (UsageError, DeniedError) as error:
            await self._finish(arrived, str(error))
        except CloisterError as error:
            await self._try_again(arrived, error, tries)
        except Exception as error:  # a bug of one handler must not reach other deliveries
            _log.exception("a delivery met a bug", delivery=arrived.id, kind=arrived.kind)
            await self._try_again(arrived, error, tries)
        finally:
            self._under_way.discard(arrived.id)
            self._woken.set()

    async def _handle(self, arrived: Arrived) -> str:
        """Ask each handler of that kind; what one of them raises keeps no other from it."""
        outcomes: list[str] = []
        failed: CloisterError | None = None
        for handler in self.handlers:
            if arrived.kind not in handler.kinds:
                continue
            try:
                handled: Handled | None = await handler.handle(arrived)
            except (UsageError, DeniedError) as error:
                outcomes.append(str(error))
            except CloisterError as error:
                failed = failed if failed is not None and not isinstance(failed, LaterError) else error
            else:
                outcomes += [handled.outcome] if handled is not None else []
        if failed is not None:
            raise failed
        return "; ".join(dict.fromkeys(outcomes)) or "nothing to do"

    async def _try_again(self, arrived: Arrived, error: Exception, tries: int) -> None:
        _log.warning("a delivery could not be worked off", delivery=arrived.id, tries=tries, error=str(error))
        if tries >= MOST_TRIES:
            await self._finish(arrived, f"given up: {error}")
        else:
            await self._put_off(arrived, error, seconds=_pause(tries), tries=tries)

    async def _put_off(self, arrived: Arrived, error: Exception, *, seconds: float, tries: int) -> None:
        try:
            next_at = self.now() + timedelta(seconds=seconds)
            await self.store.put_off(arrived.id, next_at, tries=tries, outcome=str(error))
        except CloisterError as failed:  # it is tried again once the claim is over
            _log.error("what came of a delivery could not be kept", delivery=arrived.id, error=str(failed))

    async def _finish(self, arrived: Arrived, outcome: str) -> None:
        try:
            await self.store.finish(arrived.id, outcome)
        except CloisterError as failed:
            _log.error("what came of a delivery could not be kept", delivery=arrived.id, error=str(failed))


def _pause(tries: int) -> float:
    """Return for how many seconds nothing is tried: 5, 20, 80, ..., with some chance, so that not all come at once."""
    return float(min(FIRST_PAUSE_SECONDS * 4 ** (tries - 1), _LONGEST_PAUSE_SECONDS) * random.uniform(0.8, 1.2))
