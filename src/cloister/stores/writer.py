"""The one thread of a process that writes: a transaction goes there as a whole, so it costs one way there and back."""

import os
from asyncio import Future, get_running_loop
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

import anyio
from sqlalchemy import Connection, Engine

from cloister.errors import StoreError
from cloister.stores.translation import translated

T = TypeVar("T")


class _Job:
    """A transaction on its way, and who waits for its end."""

    def __init__(
        self, work: Callable[[Connection], None], *, synced: bool, committed: Callable[[], None] | None
    ) -> None:
        self.work = work
        self.synced = synced
        self._committed = committed
        self._loop = get_running_loop()
        self.ended: Future[None] = self._loop.create_future()

    def commit(self) -> None:
        """Tell the one who wants to know before it is synced; from any thread."""
        if self._committed is not None:
            with suppress(RuntimeError):  # as below
                self._loop.call_soon_threadsafe(self._committed)

    def end(self, error: BaseException | None = None) -> None:
        """Tell the one who waits; from any thread."""
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._loop.call_soon_threadsafe(self._tell, error)

    def _tell(self, error: BaseException | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)


class Writer:
    """Carries transactions out in the order in which they come, each by itself, and syncs for many at once.

    Those that shall be synced wait for a second thread, so that a slow disk delays nobody else: while it syncs for
    some, others are committed, for which the next time does.
    """

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self._path = path
        self._is_log_named = False
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._committed: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [Thread(target=each, daemon=True) for each in (self._write_forever, self._sync_forever)]
        for thread in self._threads:
            thread.start()

    async def run(
        self, work: Callable[[Connection], T], *, synced: bool, committed: Callable[[], None] | None = None
    ) -> T:
        """Return what `work` returns, once that is committed, and synced when it shall be; cancellation waits too.

        `committed` is called in between.
        """
        answers: list[T] = []
        job = _Job(lambda connection: answers.append(work(connection)), synced=synced, committed=committed)
        self._jobs.put(job)
        with anyio.CancelScope(shield=True):
            await job.ended
        return answers[0]

    def close(self) -> None:
        """Carry out what was asked for, and end. Blocks."""
        self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _write_forever(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                with translated(self._path), self._engine.begin() as connection:
                    job.work(connection)
            except BaseException as error:
                job.end(error)
            else:
                job.commit()
                if job.synced:
                    self._committed.put(job)
                else:
                    job.end()
        self._committed.put(None)

    def _sync_forever(self) -> None:
        more = True
        while more:
            found = _all_of(self._committed)
            more = None not in found
            if jobs := [job for job in found if job is not None]:
                error = self._sync()
                for job in jobs:
                    job.end(error)

    def _sync(self) -> StoreError | None:
        """Make all that was committed by now survive a power cut; return why it cannot be said that it does.

        It is what SQLite itself does at each commit with `synchronous = FULL` (https://www.sqlite.org/wal.html): until
        a checkpoint, which syncs by itself, a commit is in the log beside the database and nowhere else.
        """
        try:
            descriptor = os.open(self._path.with_name(self._path.name + "-wal"), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            if not self._is_log_named:  # a file that is on the disk and in no directory is lost
                _sync_directory(self._path.parent)
                self._is_log_named = True
        except OSError as error:
            said = StoreError(f"{self._path} could not be synced to its disk: {error.strerror}")
            said.__cause__ = error
            return said
        return None


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _all_of(queue: SimpleQueue[T]) -> list[T]:
    """Wait until there is something, and return all that is there."""
    found = [queue.get()]
    with suppress(Empty):
        while True:
            found.append(queue.get_nowait())
    return found
