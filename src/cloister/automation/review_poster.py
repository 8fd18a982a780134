"""Posts reviews as soon as their tasks are over, where that was asked for with the review."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import anyio
import structlog

from cloister.errors import CloisterError, DeniedError, RateLimitError, UsageError
from cloister.model.review import KnownReview
from cloister.model.task import TaskState
from cloister.reviews import Reviews

LOOK_SECONDS = 3.0
MOST_TRIES = 8
_LONGEST_PAUSE_SECONDS = 3600.0
_log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class ReviewPoster:
    """What is to be posted is in the database: a server that was killed goes on with it."""

    reviews: Reviews
    now: Callable[[], datetime]
    """Aware, UTC."""
    _tries: dict[str, tuple[int, datetime]] = field(default_factory=dict, init=False)
    """By task: how often it failed, and when to try again."""

    async def run(self) -> None:
        """Look, and look again, until cancelled. Nothing that fails ends it."""
        while True:
            try:
                await self.post_all()
            except CloisterError as error:
                _log.error("reviews that wait could not be looked at", error=str(error))
            await anyio.sleep(LOOK_SECONDS)

    async def post_all(self) -> None:
        """Post what is over and due."""
        for known in await self.reviews.known.waiting():
            _, due_at = self._tries.get(known.task, (0, self.now()))
            if due_at <= self.now():
                await self._post(known)

    async def _post(self, known: KnownReview) -> None:
        try:
            status = await self.reviews.tasks.get(known.task)
            if status.state is not TaskState.FINISHED:
                return
            await self.reviews.post_news(known.task)
        except (UsageError, DeniedError) as error:  # trying again would help nobody
            await self._give_up(known, error)
        except RateLimitError as error:  # when, is told; nothing is wrong with it
            _log.warning("a review is posted later", task=known.task, error=str(error))
            tries, seconds = self._tries.get(known.task, (0, self.now()))[0], min(error.seconds, _LONGEST_PAUSE_SECONDS)
            self._tries[known.task] = (tries, self.now() + timedelta(seconds=seconds))
        except CloisterError as error:
            await self._try_later(known, error)
        else:
            self._tries.pop(known.task, None)

    async def _try_later(self, known: KnownReview, error: CloisterError) -> None:
        tries = self._tries.get(known.task, (0, self.now()))[0] + 1
        _log.warning("a review could not be posted", task=known.task, tries=tries, error=str(error))
        if tries >= MOST_TRIES:
            await self._give_up(known, error)
            return
        seconds = min(5.0 * 4 ** (tries - 1), _LONGEST_PAUSE_SECONDS) * random.uniform(0.8, 1.2)
        self._tries[known.task] = (tries, self.now() + timedelta(seconds=seconds))

    async def _give_up(self, known: KnownReview, error: CloisterError) -> None:
        self._tries.pop(known.task, None)
        try:
            await self.reviews.known.save(replace(known, waiting=False, problem=str(error)), self.now())
        except CloisterError as failed:  # it is looked at again
            _log.error("why a review was not posted could not be kept", task=known.task, error=str(failed))
