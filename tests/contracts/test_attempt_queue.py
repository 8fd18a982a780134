"""What every `AttemptQueue` promises, with the `TaskStore` over the same rows."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol, cast

import anyio
import anyio.lowlevel
import pytest

from cloister.errors import ConflictError, LeaseLostError, NotFoundError, UnderWayError
from cloister.model.cancellation import AT_ONCE, Cancellation
from cloister.model.environment import Environment
from cloister.model.event import (
    AttemptFinished,
    Output,
    PhaseFinished,
    PhaseStarted,
    RecordedEvent,
    RecordMissed,
    TaskAccepted,
    TaskFinished,
    TurnAccepted,
)
from cloister.model.fairness import NO_LIMITS, HeldBy, Priority, RunningLimits
from cloister.model.given import GivenFile
from cloister.model.phase import Phase
from cloister.model.record import SignedRecord
from cloister.model.request_key import KeptRequest, RequestKey, make_request_key
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.task import Attempt, AttemptId, Exchange, FollowUp, Outcome, TaskId, TaskState, Verdict
from cloister.model.task_filter import IN_SIGHT, TaskFilter
from cloister.protocols import AttemptQueue, TaskStore
from cloister.queues.embedded import EmbeddedQueue
from cloister.queues.fake import FakeQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.tasks import SqlTaskStore

SUCCESS = Outcome(verdict=Verdict.SUCCEEDED)


class NewWorker(Protocol):
    def __call__(
        self, limits: RunningLimits = NO_LIMITS
    ) -> AbstractAsyncContextManager[tuple[AttemptQueue, TaskStore]]: ...


def _embedded(state: Path) -> NewWorker:
    @asynccontextmanager
    async def new_worker(limits: RunningLimits = NO_LIMITS) -> AsyncIterator[tuple[AttemptQueue, TaskStore]]:
        async with (
            Database.open(state / "cloister.db") as database,
            EmbeddedQueue.open(SqlLedger(database), state / "workers", limits) as queue,
        ):
            yield queue, SqlTaskStore(database, limits)

    return new_worker


class _FakeWorker:
    """One of several workers over the same fake rows."""

    def __init__(self, rows: FakeQueue) -> None:
        self._rows = rows
        self._claimed: list[Attempt] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rows, name)

    async def claim(self, task: TaskId | None = None) -> Attempt | None:
        attempt = await self._rows.claim(task)
        if attempt is not None:
            self._claimed.append(attempt)
        return attempt

    def die(self) -> None:
        for attempt in self._claimed:
            with suppress(LeaseLostError):
                self._rows.abandon(attempt)


def _fake(_: Path) -> NewWorker:
    rows = FakeQueue()

    @asynccontextmanager
    async def new_worker(limits: RunningLimits = NO_LIMITS) -> AsyncIterator[tuple[AttemptQueue, TaskStore]]:
        rows.limits = limits
        worker = _FakeWorker(rows)
        yield cast(AttemptQueue, worker), rows
        worker.die()

    return new_worker


@pytest.fixture(params=[_embedded, _fake], ids=["embedded", "fake"])
def new_worker(request: pytest.FixtureRequest, tmp_path: Path) -> NewWorker:
    """Opens one more worker over the same rows; it dies at the end of its block."""
    return request.param(tmp_path)


@pytest.fixture
async def worker(new_worker) -> AsyncIterator[tuple[AttemptQueue, TaskStore]]:
    async with new_worker() as opened:
        yield opened


@pytest.fixture
def queue(worker: tuple[AttemptQueue, TaskStore]) -> AttemptQueue:
    return worker[0]


@pytest.fixture
def store(worker: tuple[AttemptQueue, TaskStore]) -> TaskStore:
    return worker[1]


async def _claim(queue: AttemptQueue) -> Attempt:
    attempt = await queue.claim()
    assert attempt is not None
    return attempt


async def _log(store: TaskStore, task: str = "t1") -> list[RecordedEvent]:
    return [event async for event in store.events(TaskId(task))]


def _output(end: int, command: str = "setup") -> Output:
    return Output(stream="stdout", text="x", command=command, offset=end)


async def test_a_task_is_accepted_once(queue, store, new_task) -> None:
    await queue.submit(new_task())
    with pytest.raises(ConflictError):
        await queue.submit(new_task(prompt="another"))
    assert [type(event.event) for event in await _log(store)] == [TaskAccepted]


async def test_an_attempt_that_is_over_is_written_no_more(queue, store, new_task) -> None:
    await queue.submit(new_task())
    attempt = await _claim(queue)
    await queue.finish(attempt, SUCCESS)
    before = await _log(store)
    for write in (
        lambda: queue.renew(attempt),
        lambda: queue.finish(attempt, Outcome(verdict=Verdict.FAILED)),
        lambda: _record_and_flush(queue, attempt),
    ):
        with pytest.raises(LeaseLostError):
            await write()
    assert await _log(store) == before
    assert (await store.get("t1")).verdict is Verdict.SUCCEEDED


async def test_an_older_retry_is_written_no_more(queue, store, new_worker, new_task) -> None:
    await queue.submit(new_task())
    async with new_worker() as (doomed, _):
        stale = await _claim(doomed)
    taken_over = await _claim(queue)
    assert taken_over == dataclasses.replace(stale, retry=1)
    for write in (
        lambda: queue.renew(stale),
        lambda: queue.finish(stale, SUCCESS),
        lambda: _record_and_flush(queue, stale),
    ):
        with pytest.raises(LeaseLostError):
            await write()
    assert await queue.renew(taken_over)
    assert [type(event.event) for event in await _log(store)] == [TaskAccepted]


async def _record_and_flush(queue: AttemptQueue, attempt: Attempt) -> None:
    await queue.record(attempt, Phase.SETUP, _output(1))
    await queue.output_offset(attempt, "setup")
    await queue.record(attempt, Phase.SETUP, _output(2))


async def test_a_living_worker_keeps_its_attempt(queue, new_worker, new_task) -> None:
    await queue.submit(new_task())
    async with new_worker() as (other, _):
        attempt = await _claim(other)
        assert await queue.claim() is None
        assert await other.renew(attempt)


async def test_a_worker_never_takes_its_own_attempt_twice(queue, new_task) -> None:
    await queue.submit(new_task())
    await _claim(queue)
    assert await queue.claim() is None


async def test_attempts_are_claimed_oldest_first_and_each_once(queue, new_task) -> None:
    tasks = [new_task(id, attempts=2) for id in ("t2", "t1")]
    for task in tasks:
        await queue.submit(task)
    claimed = [await _claim(queue) for _ in range(4)]
    assert [(attempt.task, attempt.number, attempt.retry) for attempt in claimed] == [
        (task, number, 0) for task in tasks for number in (1, 2)
    ]
    assert len({attempt.id for attempt in claimed}) == 4
    assert await queue.claim() is None


async def test_the_attempts_of_one_task_alone_are_claimed_on_demand(queue, new_worker, new_task) -> None:
    for id in ("t1", "t2"):
        await queue.submit(new_task(id, attempts=2))
    async with new_worker() as (doomed, _):
        abandoned = [await doomed.claim(TaskId("t2")), await doomed.claim(TaskId("t1"))]
    claimed = [await queue.claim(TaskId("t2")) for _ in range(3)]
    assert [attempt and (attempt.task.id, attempt.number, attempt.retry) for attempt in claimed] == [
        ("t2", 1, 1),
        ("t2", 2, 0),
        None,
    ]
    assert (await _claim(queue)).id == abandoned[1].id
    assert await queue.claim(TaskId("unknown")) is None


async def test_workers_that_claim_at_once_never_share(queue, new_worker, new_task) -> None:
    await queue.submit(new_task(attempts=4))
    claimed: list[Attempt | None] = []

    async def take(queue: AttemptQueue) -> None:
        for _ in range(3):
            claimed.append(await queue.claim())

    async with new_worker() as (second, _), new_worker() as (third, _):
        async with anyio.create_task_group() as group:
            for each in (queue, second, third):
                group.start_soon(take, each)
        ids = [attempt.id for attempt in claimed if attempt is not None]
        assert len(ids) == len(set(ids)) == 4


async def test_an_abandoned_attempt_comes_before_younger_ones(queue, new_worker, new_task) -> None:
    await queue.submit(new_task("t1"))
    await queue.submit(new_task("t2"))
    async with new_worker() as (doomed, _):
        abandoned = await _claim(doomed)
    assert (await _claim(queue)).id == abandoned.id


async def test_users_take_turns_and_attempts_of_one_task_count_each(queue, new_task) -> None:
    await queue.submit(new_task("a1", asked_by="ann", attempts=4))
    await queue.submit(new_task("a2", asked_by="ann"))
    await queue.submit(new_task("b1", asked_by="bob", attempts=2))
    claimed = [await _claim(queue) for _ in range(7)]
    assert [attempt.task.id for attempt in claimed] == ["a1", "b1", "a1", "b1", "a1", "a1", "a2"]
    assert await queue.claim() is None


async def test_a_high_priority_goes_first(queue, new_task) -> None:
    for id, priority in (("t1", Priority.LOW), ("t2", Priority.NORMAL), ("t3", Priority.HIGH)):
        await queue.submit(new_task(id, priority=priority))
    assert [(await _claim(queue)).task.id for _ in range(3)] == ["t3", "t2", "t1"]


@pytest.mark.parametrize(
    ("limits", "before", "after"),
    [
        (RunningLimits(together=2), ["a1", "b1"], ["a2"]),
        (RunningLimits(per_user=1), ["a1", "b1"], ["a2"]),
        (RunningLimits(per_environment=1), ["a1", "a3"], ["b1"]),
    ],
)
async def test_no_more_run_than_the_limits_say_over_all_workers(new_worker, new_task, limits, before, after) -> None:
    async with new_worker(limits) as (queue, store), new_worker(limits) as (other, _):
        for id, user, environment in (
            ("a1", "ann", "web"),
            ("a2", "ann", "web"),
            ("a3", "ann", "shop"),
            ("b1", "bob", "web"),
        ):
            await queue.submit(new_task(id, asked_by=user, environment=Environment(name=environment)))
        claimed = [await queue.claim(), await other.claim()]
        assert [attempt and attempt.task.id for attempt in claimed] == before
        assert await queue.claim() is None
        assert await other.claim() is None
        assert (await store.get(after[0])).state is TaskState.QUEUED
        await queue.finish(claimed[0], SUCCESS)
        with anyio.fail_after(20):
            while (found := await other.claim()) is None:
                await other.wait_for_work()
        assert [found.task.id] == after
        assert await queue.claim() is None


async def test_what_waits_has_a_place_until_it_starts(queue, store, new_task) -> None:
    for number in range(1, 4):
        await queue.submit(new_task(f"a{number}", asked_by="ann"))
    await queue.submit(new_task("b1", asked_by="bob", attempts=2))
    places = {status.task.id: status.queue_position for status in await store.list()}
    assert places == {"a1": 1, "b1": 2, "a2": 3, "a3": 5}
    assert [one.queue_position for one in (await store.get("b1")).attempts] == [2, 4]
    first = await _claim(queue)
    assert [(await store.get(task)).queue_position for task in ("a1", "b1", "a2", "a3")] == [None, 1, 2, 4]
    await queue.finish(first, SUCCESS)
    await store.cancel(TaskId("b1"))
    assert [(await store.get(task)).queue_position for task in ("a1", "b1", "a2", "a3")] == [None, None, 1, 2]
    await queue.follow_up(TaskId("a1"), _turn(continues=AttemptId("a1-1-1"), asked_by="bob", attempts=2))
    assert [one.queue_position for one in (await store.get("a1")).attempts] == [1, 3]
    assert [(await store.get(task)).queue_position for task in ("a2", "a3")] == [2, 4]


@pytest.mark.parametrize(
    ("limits", "held"),
    [
        (RunningLimits(together=1), {"a2": HeldBy.SERVER, "a3": HeldBy.SERVER, "b1": HeldBy.SERVER}),
        (
            RunningLimits(per_user=1, per_environment=1),
            {"a2": HeldBy.USER, "a3": HeldBy.USER, "b1": HeldBy.ENVIRONMENT},
        ),
        (RunningLimits(per_environment=1), {"a2": HeldBy.ENVIRONMENT, "a3": None, "b1": HeldBy.ENVIRONMENT}),
        (RunningLimits(together=2, per_user=2, per_environment=2), {"a2": None, "a3": None, "b1": None}),
    ],
)
async def test_what_waits_says_what_limit_holds_it_back(new_worker, new_task, limits, held) -> None:
    async with new_worker(limits) as (queue, store):
        for id, user, environment in (
            ("a1", "ann", "web"),
            ("a2", "ann", "web"),
            ("a3", "ann", "shop"),
            ("b1", "bob", "web"),
        ):
            await queue.submit(new_task(id, asked_by=user, environment=Environment(name=environment)))
        assert [status.held_by for status in await store.list()] == [None] * 4, "nothing runs yet"
        first = await _claim(queue)
        assert {status.task.id: status.held_by for status in await store.list()} == {"a1": None, **held}
        assert {id: (await store.get(id)).attempts[0].held_by for id in held} == held
        await queue.finish(first, SUCCESS)
        assert [status.held_by for status in await store.list()] == [None] * 4, "its place is free again"


async def test_what_is_archived_is_listed_when_asked_for(queue, store, new_task) -> None:
    for id in ("t1", "t2", "t3"):
        await queue.submit(new_task(id))
    first = await _claim(queue)
    for unfinished in ("t1", "t2"):
        with pytest.raises(ConflictError, match="only what is over is archived"):
            await store.set_archived(TaskId(unfinished), True)
        await store.set_archived(TaskId(unfinished), False)
    with pytest.raises(NotFoundError):
        await store.set_archived(TaskId("t9"), True)
    await queue.finish(first, _changed("done", b"diff"))
    for _ in range(2):
        await store.set_archived(TaskId("t1"), True)
    assert [one.task.id for one in await store.list(only=TaskFilter(archived=True))] == ["t1"]
    assert [one.task.id for one in await store.list(only=IN_SIGHT)] == ["t3", "t2"]
    assert [one.task.id for one in await store.list()] == ["t3", "t2", "t1"]
    assert [one.task.id for one in await store.list(only=TaskFilter(archived=False, environment="web"), limit=1)] == [
        "t3"
    ]
    assert (await store.get("t1")).archived
    await store.set_archived(TaskId("t1"), False)
    assert not (await store.get("t1")).archived
    await store.set_archived(TaskId("t1"), True)
    await queue.follow_up(TaskId("t1"), _turn())
    assert not (await store.get("t1")).archived, "a further turn brings it back"


async def test_a_search_looks_at_so_many_tasks_and_says_where_it_ended(queue, store, new_task) -> None:
    for number in range(1, 8):
        await queue.submit(new_task(f"t{number}", prompt="odd" if number % 2 else "even"))
    some = TaskFilter(text="odd", within=3)
    assert [one.task.id for one in await store.list(only=some)] == ["t7", "t5"]
    last = await store.last_looked_at(within=3)
    assert last == "t5"
    assert [one.task.id for one in await store.list(only=some, before=last)] == ["t3"]
    last = await store.last_looked_at(within=3, before=last)
    assert last == "t2"
    assert [one.task.id for one in await store.list(only=some, before=last)] == ["t1"]
    assert await store.last_looked_at(within=3, before=last) is None, "that was all"
    assert await store.last_looked_at(within=7) is None


async def test_it_is_known_in_which_phase_a_task_is(queue, store, new_task) -> None:
    for id in ("t1", "t2", "t3"):
        await queue.submit(new_task(id))
    first, second = await _claim(queue), await _claim(queue)
    await queue.record(first, Phase.PROVISION, PhaseStarted(network="off"))
    await queue.record(second, Phase.PROVISION, PhaseStarted(network="off"))
    await queue.record(second, Phase.SETUP, PhaseStarted(network="off"))
    for attempt in (first, second):
        await queue.finish(attempt, SUCCESS)  # by which time all is written down
    ids = [TaskId(id) for id in ("t1", "t2", "t3")]
    assert await store.phases(ids) == {"t1": Phase.PROVISION, "t2": Phase.SETUP}
    assert await store.phases(()) == {}


async def test_a_clock_that_was_moved_back_changes_no_order(queue, store, new_task) -> None:
    for id, day in (("t1", 3), ("t2", 1), ("t3", 2)):
        await queue.submit(new_task(id, accepted_at=datetime(2026, 3, day, tzinfo=UTC)))
    assert [one.task.id for one in await store.list()] == ["t3", "t2", "t1"]
    assert [one.queue_position for one in await store.list()] == [3, 2, 1]
    assert [(await _claim(queue)).task.id for _ in range(3)] == ["t1", "t2", "t3"]


async def test_a_turn_counts_for_whoever_asked_for_it(queue, new_task) -> None:
    await queue.submit(new_task(asked_by="ann"))
    await queue.finish(await _claim(queue), _changed("done", b"diff"))
    await queue.follow_up(TaskId("t1"), _turn(asked_by="bob", attempts=2))
    await queue.submit(new_task("t2", asked_by="ann"))
    claimed = [await _claim(queue) for _ in range(3)]
    assert [(attempt.task.id, attempt.turn) for attempt in claimed] == [("t1", 2), ("t2", 1), ("t1", 2)]


async def test_the_log_keeps_the_order_and_is_complete_at_the_end(queue, store, new_task) -> None:
    task = new_task()
    await queue.submit(task, notes=["uncommitted work was left alone"])
    attempt = await _claim(queue)
    await queue.record(attempt, Phase.SETUP, PhaseStarted(network="full", secrets=("TOKEN",)))
    for end in range(1, 500):
        await queue.record(attempt, Phase.SETUP, _output(end))
    await queue.record(attempt, Phase.SETUP, PhaseFinished(seconds=1.5))
    await queue.finish(attempt, Outcome(verdict=Verdict.FAILED, reason="setup failed"))
    log = await _log(store)
    assert [event.seq for event in log] == list(range(1, 505))
    assert await store.last_seq(TaskId("t1")) == 504
    with pytest.raises(NotFoundError):
        await store.last_seq(TaskId("t9"))
    assert [event.event for event in log] == [
        TaskAccepted(
            commit="a" * 40,
            ref="main",
            environment="web",
            notes=("uncommitted work was left alone",),
            trace=task.trace_id,
        ),
        PhaseStarted(network="full", secrets=("TOKEN",)),
        *[_output(end) for end in range(1, 500)],
        PhaseFinished(seconds=1.5),
        AttemptFinished(verdict=Verdict.FAILED, reason="setup failed"),
        TaskFinished(verdict=Verdict.FAILED),
    ]
    assert {event.phase for event in log[1:502]} == {Phase.SETUP}
    assert {event.attempt for event in log[1:503]} == {attempt.id}


async def test_attempts_of_several_workers_share_one_log(queue, store, new_worker, new_task) -> None:
    await queue.submit(new_task(attempts=2))

    async def work(queue: AttemptQueue) -> None:
        attempt = await _claim(queue)
        for end in range(1, 200):
            await queue.record(attempt, Phase.AGENT, _output(end))
            if end % 20 == 0:
                await anyio.lowlevel.checkpoint()
        await queue.finish(attempt, SUCCESS)

    async with new_worker() as (other, _), anyio.create_task_group() as group:
        group.start_soon(work, queue)
        group.start_soon(work, other)
    log = await _log(store)
    assert [event.seq for event in log] == list(range(1, 403))
    assert isinstance(log[-1].event, TaskFinished)
    for attempt in {event.attempt for event in log} - {None}:
        ends = [event.event.offset for event in log if event.attempt == attempt and isinstance(event.event, Output)]
        assert ends == list(range(1, 200))


async def test_output_goes_on_where_the_record_of_that_command_ends(queue, new_worker, new_task) -> None:
    await queue.submit(new_task(attempts=2))
    async with new_worker() as (doomed, _):
        attempt = await _claim(doomed)
        assert await doomed.output_offset(attempt, "setup") == 0
        await doomed.record(attempt, Phase.SETUP, _output(10))
        await doomed.record(attempt, Phase.SETUP, _output(25))
        await doomed.record(attempt, Phase.AGENT, _output(7, command="agent"))
        assert await doomed.output_offset(attempt, "setup") == 25
    again, other = await _claim(queue), await _claim(queue)
    assert await queue.output_offset(again, "setup") == 25
    assert await queue.output_offset(again, "agent") == 7
    assert await queue.output_offset(other, "setup") == 0


async def test_events_that_are_recorded_together_stand_together_and_a_void_lease_keeps_all_out(
    queue, new_worker, store, new_task
) -> None:
    await queue.submit(new_task())
    async with new_worker() as (doomed, _):
        attempt = await _claim(doomed)
        await doomed.record(attempt, Phase.AGENT, _output(1), PhaseFinished(seconds=1), _output(2))
        assert await doomed.output_offset(attempt, "setup") == 2
    again = await _claim(queue)
    with suppress(LeaseLostError):
        await queue.record(attempt, Phase.AGENT, _output(3), PhaseFinished(seconds=3))
        await queue.told(attempt)
    await queue.record(again, Phase.AGENT, _output(4))
    await queue.finish(again, SUCCESS)
    told = [recorded.event for recorded in await _log(store) if isinstance(recorded.event, Output | PhaseFinished)]
    assert told == [_output(1), PhaseFinished(seconds=1), _output(2), _output(4)]


async def test_a_cancelled_attempt_is_told_to_its_worker(queue, store, new_task) -> None:
    await queue.submit(new_task())
    attempt = await _claim(queue)
    assert await queue.renew(attempt)
    await store.cancel(TaskId("t1"))
    assert not await queue.renew(attempt)
    await queue.finish(attempt, Outcome(verdict=Verdict.CANCELLED, reason="cancelled"))
    assert (await store.get("t1")).state is TaskState.FINISHED


async def test_how_an_attempt_is_cancelled_is_said_by_who_asks_last(queue, store, new_task) -> None:
    await queue.submit(new_task())
    attempt = await _claim(queue)
    assert await queue.cancellation(attempt) == AT_ONCE
    for asked in (Cancellation(grace_seconds=2.5, collect=True), Cancellation(grace_seconds=1), AT_ONCE):
        await store.cancel(TaskId("t1"), cancellation=asked)
        assert not await queue.renew(attempt)
        assert await queue.cancellation(attempt) == asked
    await queue.finish(attempt, Outcome(verdict=Verdict.CANCELLED))
    with pytest.raises(LeaseLostError):
        await queue.cancellation(attempt)


async def test_a_cancellation_before_the_end_is_the_verdict(queue, store, new_task) -> None:
    await queue.submit(new_task())
    attempt = await _claim(queue)
    await store.cancel(TaskId("t1"))
    await queue.finish(attempt, Outcome(verdict=Verdict.SUCCEEDED, message="done"))
    status = await store.get("t1")
    assert (status.verdict, status.attempts[0].outcome.verdict) == (Verdict.CANCELLED, Verdict.CANCELLED)
    assert status.attempts[0].outcome.message == "done", "what it left stays"


RECORD = SignedRecord(envelopes={Verdict.SUCCEEDED: b"of a success", Verdict.CANCELLED: b"of a cancellation"})


async def test_a_record_under_a_void_lease_is_not_kept(queue, store, new_worker, new_task) -> None:
    await queue.submit(new_task())
    async with new_worker() as (doomed, _):
        stale = await _claim(doomed)
    attempt = await _claim(queue)
    with pytest.raises(LeaseLostError):
        await queue.finish(stale, SUCCESS, RECORD)
    assert await store.find_record(attempt.id) is None, "of a killed worker there is none"
    await queue.finish(attempt, SUCCESS, RECORD)
    with pytest.raises(LeaseLostError):
        await queue.finish(attempt, SUCCESS, SignedRecord(envelopes={Verdict.SUCCEEDED: b"a second one"}))
    assert await store.find_record(attempt.id) == b"of a success"


async def test_the_record_is_the_one_of_the_verdict(queue, store, new_task) -> None:
    for task, cancelled in (("t1", False), ("t2", True)):
        await queue.submit(new_task(task))
        attempt = await _claim(queue)
        assert await store.find_record(attempt.id) is None
        if cancelled:
            await store.cancel(TaskId(task))
        await queue.finish(attempt, SUCCESS, RECORD)
        kept = await store.find_record(attempt.id)
        assert kept == (b"of a cancellation" if cancelled else b"of a success")
    assert await store.find_record("unknown") is None


async def test_why_there_is_no_record_is_told_with_the_end(queue, store, new_task) -> None:
    await queue.submit(new_task())
    attempt = await _claim(queue)
    await queue.finish(attempt, SUCCESS, RecordMissed(reason="no key"))
    assert await store.find_record(attempt.id) is None
    told = [event.event.wire_name for event in await _log(store)]
    assert told == ["task_accepted", "record_missed", "attempt_finished", "task_finished"]


async def test_what_was_told_of_an_attempt_is_all_of_it_but_output(queue, store, new_worker, new_task) -> None:
    await queue.submit(new_task(attempts=2))
    async with new_worker() as (doomed, _):
        await doomed.record(await _claim(doomed), Phase.SETUP, PhaseStarted(network="full"))
    first, second = await _claim(queue), await _claim(queue)
    for attempt in (first, second):
        await queue.record(attempt, Phase.AGENT, PhaseStarted(network="off"))
        await queue.record(attempt, Phase.AGENT, _output(1))
        await queue.record(attempt, Phase.AGENT, PhaseFinished(seconds=1))
    told = await queue.told(first)
    assert [(event.phase, event.event.wire_name) for event in told] == [
        (Phase.SETUP, "phase_started"), (Phase.AGENT, "phase_started"), (Phase.AGENT, "phase_finished")
    ]  # fmt: skip
    assert told == [
        event for event in await _log(store) if event.attempt == first.id and event.event.wire_name != "output"
    ]


async def test_a_log_can_be_read_without_output(queue, store, new_task) -> None:
    await queue.submit(new_task())
    attempt = await _claim(queue)
    for end in range(1, 1200):
        await queue.record(attempt, Phase.SETUP, _output(end))
        if end % 600 == 0:
            await queue.record(attempt, Phase.SETUP, PhaseFinished(seconds=end))
    await queue.finish(attempt, SUCCESS)
    events = [event async for event in store.events(TaskId("t1"), after=1, follow=True, output=False)]
    assert [event.event.wire_name for event in events] == ["phase_finished", "attempt_finished", "task_finished"]


async def test_a_cancelled_attempt_of_a_dead_worker_is_still_taken_over(queue, store, new_worker, new_task) -> None:
    await queue.submit(new_task())
    async with new_worker() as (doomed, _):
        await _claim(doomed)
    await store.cancel(TaskId("t1"))
    attempt = await _claim(queue)  # somebody has to tear its sandbox down
    assert not await queue.renew(attempt)


async def test_what_nobody_could_take_is_unowned(queue, new_task) -> None:
    assert await queue.claim_unowned() is None
    await queue.submit(new_task())
    assert (await queue.claim_unowned()).task.id == "t1"
    assert await queue.claim_unowned() is None, "its worker lives"


async def test_a_waiting_worker_is_woken_by_a_submission(queue, new_worker, new_task) -> None:
    assert await queue.claim() is None
    async with new_worker() as (other, _):
        for submitter, task in ((queue, "t1"), (other, "t2")):
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    group.start_soon(submitter.submit, new_task(task))
                    while (attempt := await queue.claim()) is None:
                        await queue.wait_for_work()
            assert attempt.task.id == task


async def test_a_waiting_worker_finds_what_a_dead_one_left(queue, new_worker, new_task) -> None:
    async with new_worker() as (doomed, _):
        await queue.submit(new_task())
        await _claim(doomed)
        assert await queue.claim() is None
    with anyio.fail_after(20):
        while (attempt := await queue.claim()) is None:
            await queue.wait_for_work()
    assert attempt.retry == 1


def _turn(number: int = 2, **changes: Any) -> FollowUp:
    turn = FollowUp(
        number=number, prompt="and a test", continues=AttemptId("t1-1-1"), accepted_at=datetime(2026, 3, 2, tzinfo=UTC)
    )
    return dataclasses.replace(turn, **changes)


def _changed(message: str, diff: bytes) -> Outcome:
    commit, stats = Commit("a" * 40), DiffStats(files=1, added=1, removed=0)
    change = Change(base=commit, commit=commit, repository=Path("/m"), diff=diff, stats=stats)
    return Outcome(verdict=Verdict.SUCCEEDED, message=message, change=change)


async def test_no_turn_is_accepted_before_the_last_is_over_or_out_of_its_place(queue, store, new_task) -> None:
    with pytest.raises(NotFoundError):
        await queue.follow_up(TaskId("t1"), _turn())
    await queue.submit(new_task())
    with pytest.raises(ConflictError, match="followed up"):
        await queue.follow_up(TaskId("t1"), _turn())
    await queue.finish(await _claim(queue), SUCCESS)
    for number in (1, 3):
        with pytest.raises(ConflictError):
            await queue.follow_up(TaskId("t1"), _turn(number))
    status = await store.get("t1")
    assert (status.state, len(status.turns)) == (TaskState.FINISHED, 1)
    assert [type(event.event) for event in await _log(store)] == [TaskAccepted, AttemptFinished, TaskFinished]
    assert await queue.claim() is None


async def test_of_two_who_follow_up_at_once_one_does(queue, new_task) -> None:
    await queue.submit(new_task())
    await queue.finish(await _claim(queue), SUCCESS)
    refused = []

    async def follow_up() -> None:
        try:
            await queue.follow_up(TaskId("t1"), _turn())
        except ConflictError as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(follow_up)
        group.start_soon(follow_up)
    assert len(refused) == 1
    await _claim(queue)
    assert await queue.claim() is None


async def test_a_task_is_where_its_last_turn_is(queue, store, new_task) -> None:
    await queue.submit(new_task())
    await queue.finish(await _claim(queue), _changed("done", b"diff 1"))
    given = GivenFile(name="notes.txt", size_bytes=3, sha256="0" * 64)
    await queue.follow_up(TaskId("t1"), _turn(attempts=2, files=(given,), given="t1.given-2"), ["a note"])
    status = await store.get("t1")
    assert [(turn.files, turn.given) for turn in status.turns] == [((), None), ((given,), "t1.given-2")]
    assert (status.state, status.verdict, status.finished_at) == (TaskState.QUEUED, None, None)
    assert [attempt.attempt for attempt in status.attempts] == ["t1-2-1", "t1-2-2"]
    assert [(turn.number, turn.prompt, turn.continues) for turn in status.turns] == [
        (1, "fix the test", None),
        (2, "and a test", "t1-1-1"),
    ]
    assert status.turns[0].attempts[0].outcome == _changed("done", b"diff 1")
    for _ in range(2):
        attempt = await _claim(queue)
        assert (attempt.files, attempt.given) == ((given,), "t1.given-2")
        await queue.finish(attempt, Outcome(verdict=Verdict.FAILED))
    status = await store.get("t1")
    assert (status.state, status.verdict) == (TaskState.FINISHED, Verdict.FAILED), "not that of the former turn"
    log = await _log(store)
    [accepted] = [recorded for recorded in log if isinstance(recorded.event, TurnAccepted)]
    assert accepted.event == TurnAccepted(turn=2, continues=AttemptId("t1-1-1"), attempts=2, notes=("a note",))
    assert status.turns[1].seq == accepted.seq
    ends = [recorded.event for recorded in log if isinstance(recorded.event, TaskFinished)]
    assert ends == [TaskFinished(verdict=Verdict.SUCCEEDED), TaskFinished(verdict=Verdict.FAILED, turn=2)]
    assert [[turn.number for turn in it.turns] for it in await store.list()] == [[1, 2]]


async def test_an_attempt_is_given_what_its_turn_goes_on_from(queue, new_worker, new_task) -> None:
    await queue.submit(new_task(attempts=2))
    first, second = await _claim(queue), await _claim(queue)
    assert (first.continues, first.prompt, first.starting_diff) == (None, "fix the test", b"")
    await queue.finish(first, _changed("one", b"diff one"))
    await queue.finish(second, _changed("two", b"diff two"))
    await queue.follow_up(TaskId("t1"), _turn(continues=second.id))
    third = await _claim(queue)
    assert (third.turn, third.prompt, third.starting_diff) == (2, "and a test", b"diff two")
    assert third.accepted_at == datetime(2026, 3, 2, tzinfo=UTC)
    await queue.finish(third, _changed("three", b"diff three"))
    await queue.follow_up(TaskId("t1"), _turn(3, prompt="more", continues=third.id))
    async with new_worker() as (doomed, _):
        fourth = await _claim(doomed)
    taken_over = await _claim(queue)
    assert taken_over == dataclasses.replace(fourth, retry=1), "and so is whoever takes it over"
    assert taken_over.continues is not None
    assert (taken_over.continues.attempt, taken_over.starting_diff) == (third.id, b"diff three")
    assert taken_over.continues.conversation == (
        Exchange(prompt="fix the test", message="two"),
        Exchange(prompt="and a test", message="three"),
    )


async def test_a_log_is_followed_to_the_end_of_its_last_turn(queue, store, new_task) -> None:
    await queue.submit(new_task())
    await queue.finish(await _claim(queue), SUCCESS)
    await queue.follow_up(TaskId("t1"), _turn())
    seen: list[type] = []

    async def follow() -> None:
        async for recorded in store.events(TaskId("t1"), follow=True):
            seen.append(type(recorded.event))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await queue.finish(await _claim(queue), SUCCESS)
    assert seen == [TaskAccepted, AttemptFinished, TaskFinished, TurnAccepted, AttemptFinished, TaskFinished]


async def test_one_attempt_is_cancelled_and_the_others_go_on(queue, store, new_task) -> None:
    await queue.submit(new_task(attempts=3))
    running = await _claim(queue)
    await store.cancel(TaskId("t1"), running.id)
    await store.cancel(TaskId("t1"), AttemptId("t1-1-3"))
    assert not await queue.renew(running)
    other = await _claim(queue)
    assert other.number == 2
    assert await queue.renew(other)
    assert await queue.claim() is None, "the third never starts"
    await queue.finish(running, SUCCESS)
    await queue.finish(other, SUCCESS)
    status = await store.get("t1")
    ends = [attempt.outcome.verdict for attempt in status.attempts if attempt.outcome]
    assert (status.verdict, ends) == (Verdict.SUCCEEDED, [Verdict.CANCELLED, Verdict.SUCCEEDED, Verdict.CANCELLED])


def _key(text: str = "k", *, request: bytes = b"{}", hours: float = 0) -> RequestKey:
    return make_request_key("owner", text, request, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours))


async def test_a_key_stands_for_the_turn_that_its_request_made(queue, store, new_task) -> None:
    key, later = _key(), _key("l", request=b"more")
    assert await store.find_request(key.digest, key.at) is None
    await queue.submit(new_task(), key=key)
    attempt = await _claim(queue)
    await queue.finish(attempt, SUCCESS)
    turn = FollowUp(number=2, prompt="more", continues=attempt.id, accepted_at=later.at)
    await queue.follow_up(TaskId("t1"), turn, key=later)
    for each, number in ((key, 1), (later, 2)):
        kept = await store.find_request(each.digest, each.at)
        assert kept == KeptRequest(fingerprint=each.fingerprint, task=TaskId("t1"), turn=number)


async def test_a_second_request_of_a_key_makes_nothing(queue, store, new_task) -> None:
    await queue.submit(new_task("t1"), key=_key())
    with pytest.raises(UnderWayError):
        await queue.submit(new_task("t2"), key=_key(request=b"another"))
    assert [status.task.id for status in await store.list()] == ["t1"]
    await queue.finish(await _claim(queue), SUCCESS)
    turn = FollowUp(number=2, prompt="x", continues=AttemptId("t1-1-1"), accepted_at=datetime.now(UTC))
    with pytest.raises(UnderWayError):
        await queue.follow_up(TaskId("t1"), turn, key=_key())
    assert (await store.get("t1")).last_turn.number == 1
    await queue.submit(new_task("t3"), key=make_request_key("another owner", "k", b"{}", _key().at))


async def test_a_request_that_is_refused_leaves_no_key(queue, store, new_task) -> None:
    await queue.submit(new_task("t1"))
    with pytest.raises(ConflictError):
        await queue.submit(new_task("t1"), key=_key())
    assert await store.find_request(_key().digest, _key().at) is None


async def test_a_key_is_forgotten_after_a_day(queue, store, new_task) -> None:
    await queue.submit(new_task("t1"), key=_key())
    assert await store.find_request(_key().digest, _key(hours=23.9).at) is not None
    assert await store.find_request(_key().digest, _key(hours=24).at) is None
    await queue.submit(new_task("t2"), key=_key(hours=24))
    kept = await store.find_request(_key().digest, _key(hours=24).at)
    assert kept is not None and kept.task == "t2"
