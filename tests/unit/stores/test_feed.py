"""Many readers of logs, of which one looks; and readers who are slow."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime

import anyio
import pytest

from cloister.model.event import Output, PendingEvent, RecordedEvent
from cloister.model.phase import Phase
from cloister.model.task import Attempt, Outcome, TaskId, Verdict
from cloister.stores import feed
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.feed import LARGEST_PAGE_BYTES, size_of, within_bounds
from cloister.stores.tasks import SqlTaskStore


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    with anyio.fail_after(120):
        yield


@pytest.fixture
def ledger(database: Database) -> SqlLedger:
    return SqlLedger(database)


@pytest.fixture
def store(database: Database) -> SqlTaskStore:
    return SqlTaskStore(database)


async def _claim(ledger: SqlLedger) -> Attempt:
    attempt = await ledger.claim("worker", lambda _: False)
    assert attempt is not None
    return attempt


async def _print(ledger: SqlLedger, attempt: Attempt, *texts: str) -> None:
    events = [Output(stream="stdout", text=text, command="agent", offset=1) for text in texts]
    at = attempt.accepted_at
    await ledger.append([PendingEvent(lease=attempt.lease, at=at, phase=Phase.AGENT, event=event) for event in events])


async def test_every_reader_is_told_everything_once_wherever_it_began(store, ledger, new_task) -> None:
    told: list[tuple[int, list[int]]] = []

    async def read(task: str, after: int) -> None:
        seqs: list[int] = []
        told.append((after, seqs))
        async for event in store.events(TaskId(task), after=after, follow=True):
            seqs.append(event.seq)

    attempts = []
    for id in ("t1", "t2", "t3"):
        await ledger.accept(new_task(id), [])
        attempts.append(await _claim(ledger))
    async with anyio.create_task_group() as group:
        for number in range(10):
            for attempt in attempts:
                for after in range(number, 3 * number, 5):
                    group.start_soon(read, attempt.task.id, after)
                await _print(ledger, attempt, *("x" * 1000 for _ in range(number * 7)))
        for attempt in attempts:
            await ledger.finish(attempt.lease, Outcome(verdict=Verdict.SUCCEEDED))
    last = 1 + 7 * 45 + 2
    assert len(told) > 30
    assert all(seqs == list(range(after + 1, last + 1)) for after, seqs in told)


async def test_one_looks_for_all_who_wait(store, ledger, new_task, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []
    looked = feed.EventFeed._refresh

    async def counted(self: feed.EventFeed, only: TaskId | None = None) -> None:
        if only is None:  # who comes looks once for what they came for
            looks.append(None)
        await looked(self, only)

    monkeypatch.setattr(feed.EventFeed, "_refresh", counted)
    attempts = []
    for number in range(50):
        await ledger.accept(new_task(f"task-{number:02}"), [])
        attempts.append(await _claim(ledger))
    ended = []

    async def read(task: TaskId) -> None:
        async for event in store.events(task, follow=True):
            if event.event.wire_name == "task_finished":
                ended.append(task)

    async with anyio.create_task_group() as group:
        for attempt in attempts:
            group.start_soon(read, attempt.task.id)
        await anyio.wait_all_tasks_blocked()
        looks.clear()
        for attempt in attempts[:10]:
            await _print(ledger, attempt, "x")
            await anyio.wait_all_tasks_blocked()
        assert len(looks) < 50, "not one for each reader and commit"
        for attempt in attempts:
            await ledger.finish(attempt.lease, Outcome(verdict=Verdict.SUCCEEDED))
    assert len(ended) == 50


async def test_a_reader_who_stops_holds_little_and_keeps_nobody(store, ledger, new_task) -> None:
    await ledger.accept(new_task(), [])
    attempt = await _claim(ledger)
    stopped = store.events(TaskId("t1"), follow=True)
    async with aclosing(stopped):
        assert (await anext(stopped)).seq == 1
        for _ in range(20):
            await _print(ledger, attempt, *("x" * 60_000 for _ in range(10)))
        other = [event async for event in store.events(TaskId("t1"))]
        assert len(other) == 201
        frame = stopped.ag_frame.f_locals  # type: ignore[attr-defined]
        assert not isinstance(frame.get("page"), list) or len(frame["page"]) < 10
        await ledger.finish(attempt.lease, Outcome(verdict=Verdict.SUCCEEDED))
        assert [event.seq async for event in stopped] == list(range(2, 204))


def _printed(size: int) -> RecordedEvent:
    output = Output(stream="stdout", text="x" * size, command="agent", offset=1)
    return RecordedEvent(seq=1, at=datetime.now(UTC), task=TaskId("t"), attempt=None, phase=None, event=output)


async def test_a_page_is_bounded_by_what_it_holds() -> None:
    page = [_printed(60_000) for _ in range(100)]
    kept = within_bounds(page)
    assert 1 < len(kept) < 10
    assert sum(map(size_of, kept)) <= LARGEST_PAGE_BYTES
    assert len(within_bounds([_printed(10_000_000)])) == 1
    assert len(within_bounds([_printed(10)] * 100)) == 100


async def test_a_stream_that_shall_end_tells_what_there_is_first(store, ledger, new_task) -> None:
    await ledger.accept(new_task(), [])
    attempt = await _claim(ledger)
    until, told = anyio.Event(), []

    async def read() -> None:
        async for event in store.events(TaskId("t1"), follow=True, until=until):
            told.append(event.seq)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await anyio.wait_all_tasks_blocked()
        await _print(ledger, attempt, "a", "b")
        until.set()
    assert told == [1, 2, 3]
    assert [event.seq async for event in store.events(TaskId("t1"), follow=True, until=until)] == [1, 2, 3]


async def test_a_log_that_is_over_ends_for_a_reader_who_comes_while_another_waits(
    store, ledger, new_task, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_is_written(_changes: object, _mark: int) -> None:
        another_waits.set()
        await anyio.sleep_forever()

    for id in ("t1", "t2"):
        await ledger.accept(new_task(id), [])
    over, live = await _claim(ledger), await _claim(ledger)
    await ledger.finish(over.lease, Outcome(verdict=Verdict.SUCCEEDED))
    until, another_waits = anyio.Event(), anyio.Event()
    monkeypatch.setattr(type(database.changes), "wait", nothing_is_written)

    async def wait_for_the_other() -> None:
        async for _ in store.events(live.task.id, follow=True, until=until):
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(wait_for_the_other)
        await another_waits.wait()
        seqs = [event.seq async for event in store.events(over.task.id, follow=True)]
        until.set()
    assert seqs == [1, 2, 3]
