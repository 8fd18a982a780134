"""Follows the tasks that were asked for at the forge, and says there what came of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import anyio
import structlog

from cloister.errors import CloisterError, DeniedError, NotFoundError, RateLimitError, UsageError
from cloister.intake import Intake
from cloister.model.asked import Asked
from cloister.model.choice import attempt_of
from cloister.model.publication import AskedIn, Published, PublishOptions
from cloister.model.task import AttemptStatus, TaskState, TaskStatus, Verdict
from cloister.model.thread import Reaction
from cloister.protocols import AskedStore, ForgeThreads
from cloister.pull_requests import PullRequests
from cloister.triggers.answer_text import done_text

LOOK_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 5.0
MOST_TRIES = 8
"""Over about half a day."""
_AT_ONCE = 200
_FROM_FORK = "This pull request comes from a fork, where nothing is pushed. This is what was changed:"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Works until it is cancelled."""

    intake: Intake
    pull_requests: PullRequests
    store: AskedStore
    threads: ForgeThreads
    now: Callable[[], datetime]
    """Aware, UTC."""
    public_url: str | None = None
    draft: bool = False

    async def run(self) -> None:
        """Look again and again. Nothing that fails ends it."""
        while True:
            try:
                await self.look()
            except CloisterError as error:
                _log.error("what was asked for at the forge could not be looked at", error=str(error))
            await anyio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Finish what is over by now."""
        for asked in await self.store.due(self.now(), limit=_AT_ONCE):
            try:
                await self._look_at(asked)
            except RateLimitError as error:
                _log.warning("what came of a task is told later", task=asked.task, error=str(error))
                await self.store.save(replace(asked, next_at=self.now() + timedelta(seconds=error.seconds)))
            except CloisterError as error:
                await self._try_again(asked, error)
            except Exception as error:  # a bug about one must not reach the others
                _log.exception("a task of the forge met a bug", task=asked.task)
                await self._try_again(asked, error)

    async def _look_at(self, asked: Asked) -> None:
        assert asked.task is not None, "what is followed has a task"
        try:
            status = await self.intake.task(asked.task)
        except NotFoundError:
            await self.store.save(replace(asked, next_at=None, outcome="its task is gone"))
            return
        turn = next((it for it in status.turns if it.number == asked.turn), None)
        if turn is None or any(attempt.state is not TaskState.FINISHED for attempt in turn.attempts):
            return
        await self._finish(asked, status)

    async def _finish(self, asked: Asked, status: TaskStatus) -> None:
        chosen = attempt_of(status, None, asked.turn)
        outcome = chosen.outcome
        assert outcome is not None
        published, reason = None, _reason_of(chosen)
        if not reason and not asked.from_fork and status.last_turn.number == asked.turn:
            try:
                published = await self._publish(asked)
            except (UsageError, DeniedError) as error:
                reason = f"The change was not pushed: {error}. {error.hint or ''}".strip()
        elif not reason:
            reason = _FROM_FORK if asked.from_fork else "The task has gone on since."
        diff = outcome.change.diff if asked.from_fork and outcome.change else b""
        page = f"{self.public_url}/tasks/{status.task.id}" if self.public_url else None
        text = done_text(
            asked.key,
            status.task.id,
            page,
            chosen,
            flags=asked.flags,
            published=published,
            reason=reason,
            adopted=asked.pushes_to,
            diff=diff.decode(errors="replace"),
        )
        is_fine = outcome.verdict is Verdict.SUCCEEDED and (
            published is not None or not _has_change(chosen) or asked.from_fork
        )
        await self._tell(asked, text, Reaction.DONE if is_fine else Reaction.FAILED)
        said = f"pull request {published.pull_request.number}" if published else reason
        await self.store.save(replace(asked, next_at=None, outcome=said))

    async def _publish(self, asked: Asked) -> Published:
        assert asked.task is not None
        asked_in = AskedIn(adopt=asked.pushes_to, reference=f"#{asked.place.number}")
        options = PublishOptions(draft=self.draft)
        return await self.pull_requests.publish(asked.task, options=options, asked_in=asked_in)

    async def _tell(self, asked: Asked, text: str, reaction: Reaction) -> None:
        """Change the answer. One that somebody deleted is not written again, and where one must not write none is."""
        if asked.answer is not None:
            with _untold(asked):
                await self.threads.edit(asked.repository, asked.answer, text)
        with _untold(asked):
            await self.threads.react(asked.repository, asked.place, reaction)

    async def _try_again(self, asked: Asked, error: Exception) -> None:
        tries = asked.tries + 1
        _log.warning("what came of a task could not be told", task=asked.task, tries=tries, error=str(error))
        if tries >= MOST_TRIES:
            over = replace(asked, tries=tries, next_at=None, outcome=f"given up: {error}")
            await self.store.save(over)
            return
        next_at = self.now() + timedelta(seconds=FIRST_PAUSE_SECONDS * 3 ** (tries - 1))
        await self.store.save(replace(asked, tries=tries, next_at=next_at))


@contextmanager
def _untold(asked: Asked) -> Iterator[None]:
    try:
        yield
    except (NotFoundError, DeniedError) as error:
        _log.warning("who asked at the forge could not be told", task=asked.task, error=str(error))


def _reason_of(chosen: AttemptStatus) -> str:
    """Return why there is nothing to publish; empty when there is something."""
    outcome = chosen.outcome
    assert outcome is not None
    if outcome.verdict is not Verdict.SUCCEEDED:
        return f"This {outcome.verdict}: {outcome.reason.partition(chr(10))[0] or outcome.verdict}."
    return "" if _has_change(chosen) else "Nothing was changed."


def _has_change(chosen: AttemptStatus) -> bool:
    return bool(chosen.outcome and chosen.outcome.change and chosen.outcome.change.diff)
