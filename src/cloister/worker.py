"""Claims attempts and runs them, as many at once as it has slots, and keeps their leases."""

from collections.abc import Awaitable, Callable

import anyio
import structlog
from anyio.abc import TaskGroup
from structlog.contextvars import bind_contextvars
from tenacity import AsyncRetrying, retry_if_exception, wait_exponential

from cloister.ending import Ending
from cloister.errors import CloisterError, LeaseLostError
from cloister.lifecycle import end_attempt, run_attempt
from cloister.model.task import Attempt, Outcome, TaskId, Verdict
from cloister.notary import Notary
from cloister.tools import Tools

RENEW_SECONDS = 0.5
"""How soon a cancellation is noticed."""
HEAD_START_SECONDS = 0.02
"""How long an attempt that was taken is alone: looking for the next costs it as much time as making its disk."""
LONGEST_PAUSE_SECONDS = 5.0
"""Between two trials to write an outcome down."""
MOST_RETRIES = 10
"""How often an attempt is taken over: one that kills its worker must not do so for ever."""

_log = structlog.get_logger(__name__)


class Drain:
    """Asks a worker to take no more attempts, and to end when those that it has are over."""

    def __init__(self) -> None:
        self.running = 0
        """How many attempts the worker has."""
        self._asked = anyio.Event()

    @property
    def is_asked(self) -> bool:
        """Whether it was asked."""
        return self._asked.is_set()

    def ask(self) -> None:
        """From now on. Harmless twice."""
        self._asked.set()

    async def cuts_short(self, wait: Callable[[], Awaitable[object]]) -> None:
        """Wait, but not longer than until it is asked."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._cancel_when_asked, group)
            await wait()
            group.cancel_scope.cancel()

    async def _cancel_when_asked(self, group: TaskGroup) -> None:
        await self._asked.wait()
        group.cancel_scope.cancel()


async def run_worker(
    tools: Tools, *, slots: int, until_idle: bool = False, task: TaskId | None = None, drain: Drain | None = None
) -> None:
    """Run attempts (of `task`, when given) until cancelled, or with `until_idle` until none is left.

    What runs when it is cancelled goes on in its containers, for the next worker. When `drain` is asked, it returns
    once what runs is over.
    """
    free = anyio.Semaphore(slots)
    notary = Notary(tools.queue, tools.vault, tools.ceiling)
    drain = drain or Drain()
    async with anyio.create_task_group() as group:
        while True:
            await drain.cuts_short(free.acquire)
            if drain.is_asked:
                return
            attempt = await tools.queue.claim(task)  # not cut short: it would be ours, and nobody would know
            if attempt is not None:
                drain.running += 1
                group.start_soon(_work, attempt, tools, notary, free, drain)
                await anyio.sleep(HEAD_START_SECONDS)
                continue
            free.release()
            if until_idle and free.value == slots:
                return
            with anyio.move_on_after(RENEW_SECONDS if until_idle else None):
                await drain.cuts_short(tools.queue.wait_for_work)


async def _work(attempt: Attempt, tools: Tools, notary: Notary, free: anyio.Semaphore, drain: Drain) -> None:
    bind_contextvars(task=attempt.task.id, attempt=attempt.id, trace=attempt.task.trace_id)
    _log.info("attempt begins", retry=attempt.retry)
    try:
        outcome = await _run_leased(attempt, tools)
        if outcome is not None:
            await _finish(attempt, outcome, tools, notary)
            _log.info("attempt ended", verdict=outcome.verdict, seconds=dict(outcome.seconds))
    except LeaseLostError:
        _log.warning("lease lost", attempt=attempt.id, retry=attempt.retry)
    except Exception:  # the attempt is taken over once we have ended
        _log.exception("attempt not finished", attempt=attempt.id)
    finally:
        drain.running -= 1
        free.release()


async def _finish(attempt: Attempt, outcome: Outcome, tools: Tools, notary: Notary) -> None:
    """Write the outcome down, with its record, however long the store fails: nobody else may, and somebody waits."""
    async for trial in AsyncRetrying(
        retry=retry_if_exception(_may_pass), wait=wait_exponential(max=LONGEST_PAUSE_SECONDS), reraise=True
    ):
        with trial:
            await tools.queue.finish(attempt, outcome, await notary.sign(attempt, outcome))


def _may_pass(error: BaseException) -> bool:
    """Whether the same call may do better later: a lock that is held, a disk that is full."""
    if not isinstance(error, CloisterError) or isinstance(error, LeaseLostError):
        return False
    _log.error("the outcome could not be written, and is tried again", error=str(error))
    return True


async def _run_leased(attempt: Attempt, tools: Tools) -> Outcome | None:
    """Return the outcome; None when the lease was lost, so that nothing may be said any more."""
    if attempt.retry > MOST_RETRIES:
        return await end_attempt(attempt, tools, Verdict.ERRORED, f"its worker died {attempt.retry} times")
    outcome: Outcome | None = None
    broken = False
    cancelled, ending = anyio.Event(), Ending()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_keep_lease, attempt, tools, ending, cancelled, group)
            outcome = await run_attempt(attempt, tools, ending)
            group.cancel_scope.cancel()
    except* LeaseLostError:
        _log.warning("lease lost", attempt=attempt.id, retry=attempt.retry)
    except* Exception as errors:  # a bug must not reach the neighbours
        _log.error("attempt broke", attempt=attempt.id, exc_info=errors)
        broken = True
    if broken:
        return await end_attempt(attempt, tools, Verdict.ERRORED, "an error of Cloister's own; its log has the details")
    if cancelled.is_set() and outcome is None:
        return await end_attempt(attempt, tools, Verdict.CANCELLED, "cancelled")
    return outcome


async def _keep_lease(attempt: Attempt, tools: Tools, ending: Ending, cancelled: anyio.Event, group: TaskGroup) -> None:
    """Cancel the group when the attempt shall be cancelled, and cannot end by itself as it shall."""
    await anyio.sleep(RENEW_SECONDS)
    while await tools.queue.renew(attempt) or ending.ask(await tools.queue.cancellation(attempt)):  # noqa: ASYNC110
        await anyio.sleep(RENEW_SECONDS)
    cancelled.set()
    group.cancel_scope.cancel()
