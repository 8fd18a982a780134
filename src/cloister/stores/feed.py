"""Logs as they grow, for any number of readers: one looks for all of them, and what is new is read once.

However slowly somebody reads, they hold no more than a page of it in memory; the rest waits in the database.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import anyio
from sqlalchemy import Connection, bindparam, select

from cloister.model.event import Output, RecordedEvent
from cloister.model.task import TaskId, TaskState
from cloister.stores.database import Database
from cloister.stores.events import read_events
from cloister.stores.schema import TASKS

LARGEST_PAGE_BYTES = 256 * 1024
"""About what a reader has in memory of what it was not told yet; a single event may be more."""
EVENTS_AT_ONCE = 500
FIRST_PAGE = 16
_TASKS_AT_ONCE = 500
_SMALL_EVENT_BYTES = 500
_ENDS = select(TASKS.c.id, TASKS.c.last_seq, TASKS.c.state).where(TASKS.c.id.in_(bindparam("ids", expanding=True)))


class _Followed:
    """A log that somebody waits for: its end, as it was looked at last, and the newest of its events."""

    def __init__(self) -> None:
        self.readers = 0
        self.last_seq = -1
        self.is_over = False
        self.is_known = False
        """Whether its state was looked at since somebody reads it."""
        self.newest: deque[RecordedEvent] = deque()
        self.waiters: set[anyio.Event] = set()

    def after(self, seq: int) -> Sequence[RecordedEvent] | None:
        """Return all after that, when they are here."""
        if seq >= self.last_seq:
            return ()
        if not self.newest or self.newest[0].seq > seq + 1:
            return None
        return [event for event in self.newest if event.seq > seq]

    def add(self, events: Sequence[RecordedEvent], last_seq: int) -> None:
        """Take what is new; of too much, nothing: whoever reads it finds it in the database."""
        self.last_seq = last_seq
        self.newest.extend(events)
        if not self.newest or self.newest[-1].seq != last_seq:
            self.newest.clear()
        size = sum(map(size_of, self.newest))
        while size > LARGEST_PAGE_BYTES:
            size -= size_of(self.newest.popleft())

    def end(self) -> None:
        """Tell of nothing more: there is no such task any more."""
        self.newest.clear()
        self.last_seq, self.is_over, self.is_known = 0, True, True
        self.wake()

    def wake(self) -> None:
        for waiter in self.waiters:
            waiter.set()


@dataclass(frozen=True, slots=True)
class Begun:
    """What was read of a log at once: its first page, and where it ended."""

    page: Sequence[RecordedEvent]
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _News:
    """Where a log is now, and its events after that `seq`, when they are few enough."""

    task: TaskId
    after: int
    last_seq: int
    is_over: bool
    page: Sequence[RecordedEvent]


class EventFeed:
    """What is appended to logs, told to whoever reads them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._followed: dict[TaskId, _Followed] = {}
        self._somebody_looks = False

    async def follow(
        self, task: TaskId, begun: Begun, *, after: int, output: bool, until: anyio.Event | None
    ) -> AsyncIterator[RecordedEvent]:
        """Yield the log of that task from after that `seq`, until it is over or `until` is set."""
        with self._following(task) as followed:
            if followed.last_seq < 0:  # so that the first look is for what is new, and not for all that there is
                followed.last_seq = begun.last_seq
            at_once = FIRST_PAGE
            page: Sequence[RecordedEvent] | None = within_bounds(begun.page)
            while True:
                is_last = until is not None and until.is_set()
                page = page or followed.after(after)
                if page is None or (is_last and not page):
                    page, at_once = await self._read_page(task, after, at_once)
                for event in page:
                    after = event.seq
                    if output or not isinstance(event.event, Output):
                        yield event
                if not page and (is_last or (followed.is_over and after >= followed.last_seq >= 0)):
                    return
                if not page:
                    await self._wait(task, followed, after, until)
                page = ()

    async def _read_page(self, task: TaskId, after: int, limit: int) -> tuple[Sequence[RecordedEvent], int]:
        page = await self._database.query(partial(read_events, task=task, after=after, limit=limit))
        kept = within_bounds(page)
        return kept, next_limit(page, kept, limit)

    async def _wait(self, task: TaskId, followed: _Followed, seq: int, until: anyio.Event | None) -> None:
        """Return when there is more than `seq`, or `until` is set; may return early."""
        async with anyio.create_task_group() as group:
            if until is not None:
                group.start_soon(_cancel_when, until, group.cancel_scope)
            if self._somebody_looks and not followed.is_known:
                await self._refresh(only=task)  # whoever looks waits for what changes, and this may be over already
            elif self._somebody_looks:
                waiter = anyio.Event()
                followed.waiters.add(waiter)
                try:
                    await waiter.wait()
                finally:
                    followed.waiters.discard(waiter)
            else:
                await self._look(followed, seq, until)
            group.cancel_scope.cancel()

    async def _look(self, followed: _Followed, seq: int, until: anyio.Event | None) -> None:
        """Look for all, until there is more for us."""
        self._somebody_looks = True
        try:
            while True:
                mark = self._database.changes.mark()
                await self._refresh()
                if followed.last_seq > seq or followed.is_over or (until is not None and until.is_set()):
                    return
                await self._database.changes.wait(mark)
        finally:
            self._somebody_looks = False
            # Not one with news: it may be long in telling them to somebody who reads slowly.
            waiters = (waiter for each in self._followed.values() for waiter in each.waiters if not waiter.is_set())
            if (next_one := next(waiters, None)) is not None:
                next_one.set()

    async def _refresh(self, only: TaskId | None = None) -> None:
        known = {task: each.last_seq for task, each in self._followed.items() if only in (None, task)}
        found = await self._database.query(partial(_read_news, known=known))
        for news in found:
            if (followed := self._followed.get(news.task)) is not None:
                _bring_up_to_date(followed, news)
        for gone in known.keys() - {news.task for news in found}:
            if (followed := self._followed.get(gone)) is not None:
                followed.end()

    @contextmanager
    def _following(self, task: TaskId) -> Iterator[_Followed]:
        followed = self._followed.setdefault(task, _Followed())
        followed.readers += 1
        try:
            yield followed
        finally:
            followed.readers -= 1
            if not followed.readers:
                del self._followed[task]


def _read_news(connection: Connection, known: Mapping[TaskId, int]) -> Sequence[_News]:
    """Return where these logs are, and what is new in them since they were known to that `seq`."""
    ids = [*known]
    found: list[_News] = []
    for first in range(0, len(ids), _TASKS_AT_ONCE):
        for row in connection.execute(_ENDS, {"ids": ids[first : first + _TASKS_AT_ONCE]}).all():
            after = known[row.id]
            is_near = 0 <= after < row.last_seq <= after + EVENTS_AT_ONCE
            page = read_events(connection, row.id, after=after, limit=EVENTS_AT_ONCE) if is_near else ()
            over = row.state == TaskState.FINISHED
            found.append(_News(task=row.id, after=after, last_seq=row.last_seq, is_over=over, page=page))
    return found


def _bring_up_to_date(followed: _Followed, news: _News) -> None:
    known = followed.last_seq  # which may have moved on since that was read
    if news.last_seq > known:
        is_next = news.after <= known
        followed.add([event for event in news.page if event.seq > known] if is_next else (), news.last_seq)
    # Only now: whoever is told that it is over, and knows of no more, is done.
    followed.is_over, followed.is_known = news.is_over, True
    if news.is_over or news.last_seq > known:
        followed.wake()


def next_limit(page: Sequence[RecordedEvent], kept: Sequence[RecordedEvent], limit: int) -> int:
    """Return how many events to read next: large ones, of which few were kept, are read about once."""
    return len(kept) + 1 if len(kept) < len(page) else min(2 * limit, EVENTS_AT_ONCE)


def within_bounds(page: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
    """Return as much of a page as is to be kept in memory: at least one event."""
    size = 0
    for number, event in enumerate(page):
        size += size_of(event)
        if number and size > LARGEST_PAGE_BYTES:
            return page[:number]
    return page


def size_of(event: RecordedEvent) -> int:
    """Return about how much memory an event takes: printed text is what may be much."""
    return _SMALL_EVENT_BYTES + len(getattr(event.event, "text", ""))


async def _cancel_when(happened: anyio.Event, scope: anyio.CancelScope) -> None:
    await happened.wait()
    scope.cancel()
