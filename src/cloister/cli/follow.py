"""Follows a task to its end, and cancels it when the user asks for that."""

import errno
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from cloister.cli.live import View
from cloister.client import Client
from cloister.errors import UnreachableError
from cloister.model.task import TaskId

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TICK_SECONDS = 0.2
_PLACE_SECONDS = 2.0
"""How often a task that waits is asked for its place."""
_NOBODY_READS = (errno.EPIPE, errno.EIO)
"""EIO: the terminal is gone."""


class Interruption:
    """Whether, and how often, the user asked us to stop."""

    def __init__(self) -> None:
        self.times = 0
        self._changed = anyio.Event()

    async def first(self) -> int:
        """Wait for one, unless there was one already; return how many there were."""
        return self.times or await self.next()

    async def next(self) -> int:
        """Wait for one more; return how many there were."""
        await self._changed.wait()
        return self.times

    def note(self) -> None:
        """There was one more."""
        self.times += 1
        self._changed.set()
        self._changed = anyio.Event()


@asynccontextmanager
async def interruptions() -> AsyncIterator[Interruption]:
    """Catch the signals that mean stop, as long as the context is open."""
    interruption = Interruption()

    async def listen() -> None:
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            listening.set()
            async for _ in signals:
                interruption.note()

    listening = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(listen)
        await listening.wait()
        yield interruption
        group.cancel_scope.cancel()


async def unless_interrupted(work: Callable[[], Awaitable[T]], interruption: Interruption) -> T | None:
    """Do it and return what came of it; None when the user asked us to stop before."""
    result: T | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_cancel_when_interrupted, group, interruption)
        result = await work()
        group.cancel_scope.cancel()
    return result


async def follow(client: Client, task: TaskId, view: View, interruption: Interruption, *, after: int = 0) -> None:
    """Show the task, from after that `seq`, until it is over.

    It is cancelled when we are interrupted, or when nobody reads any more.
    """
    async with anyio.create_task_group() as group:
        group.start_soon(cancel_task_when_interrupted, client, task, view, interruption)
        group.start_soon(tick, view)
        group.start_soon(_tell_place, client, task, view)
        await _show_all(client, task, view, after)
        group.cancel_scope.cancel()


async def _show_all(client: Client, task: TaskId, view: View, after: int) -> None:
    read = True
    async for recorded in client.events(task, after=after, follow=True):
        if not read:
            continue
        try:
            view.show(recorded)
        except OSError as error:
            if error.errno not in _NOBODY_READS and not isinstance(error, BrokenPipeError):
                raise
            read = False
            await client.cancel(task)


async def _tell_place(client: Client, task: TaskId, view: View) -> None:
    """Tell at which place the task waits, until it does not any more."""
    place: int | None = 0
    while place is not None:
        await anyio.sleep(_PLACE_SECONDS)
        try:
            status = await client.task(task)
        except UnreachableError:  # its events are taken up again, or say so
            continue
        place = status.queue_position
        view.wait(place, status.held_by)


async def _cancel_when_interrupted(group: TaskGroup, interruption: Interruption) -> None:
    await interruption.first()
    group.cancel_scope.cancel()


async def cancel_task_when_interrupted(client: Client, task: TaskId, view: View, interruption: Interruption) -> None:
    """Cancel the task at the first interruption, and say at each that this takes a moment."""
    times = await interruption.first()
    await client.cancel(task)
    while True:
        view.say("cancelling, and cleaning up ..." if times == 1 else "still cleaning up; this takes a moment")
        times = await interruption.next()


async def tick(view: View) -> None:
    """Let a view move, for as long as it runs."""
    while True:
        await anyio.sleep(_TICK_SECONDS)
        view.tick()
