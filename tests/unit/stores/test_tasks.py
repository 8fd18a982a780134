"""What users ask about tasks."""

import dataclasses
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from cloister.errors import ConflictError, NotFoundError, UsageError
from cloister.model.event import AttemptFinished, PendingEvent, PhaseStarted, RecordedEvent, TaskFinished
from cloister.model.phase import Phase
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.task import Attempt, Lease, Outcome, TaskId, TaskState, Verdict
from cloister.model.task_filter import TaskFilter
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.tasks import SqlTaskStore

CHANGE = Change(
    base=Commit("a" * 40),
    commit=Commit("b" * 40),
    repository=Path("/state/attempts/x.git"),
    diff=b"diff --git a/x b/x\n\xff\x00" * 1000,
    stats=DiffStats(files=1, added=2, removed=3),
)
FINISH = """
import sys, anyio
from pathlib import Path
from cloister.model.task import Lease, Outcome, Verdict
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database

async def main():
    async with Database.open(Path(sys.argv[1])) as database:
        lease = Lease(task=sys.argv[2], attempt=sys.argv[3], retry=0)
        await SqlLedger(database).finish(lease, Outcome(verdict=Verdict.SUCCEEDED))

anyio.run(main)
"""


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


async def _record(ledger: SqlLedger, lease: Lease, count: int) -> None:
    event = PendingEvent(lease=lease, at=datetime.now(UTC), phase=Phase.SETUP, event=PhaseStarted(network="off"))
    await ledger.append([event] * count)


async def _log(store: SqlTaskStore, task: str, *, after: int = 0, follow: bool = False) -> list[RecordedEvent]:
    return [event async for event in store.events(TaskId(task), after=after, follow=follow)]


@pytest.mark.parametrize("prefix", ["", "x", "%", "t_", "T1"])
async def test_an_unknown_task_is_not_found(store: SqlTaskStore, ledger: SqlLedger, new_task, prefix: str) -> None:
    await ledger.accept(new_task("t1"), [])
    for question in (store.get(prefix), store.cancel(TaskId(prefix)), _log(store, prefix)):
        with pytest.raises(NotFoundError):
            await question


async def test_a_prefix_of_several_tasks_is_refused(store: SqlTaskStore, ledger: SqlLedger, new_task) -> None:
    for id in ("abc1", "abc2", "abc"):
        await ledger.accept(new_task(id), [])
    with pytest.raises(UsageError, match="more than one"):
        await store.get("ab")
    assert (await store.get("abc")).task.id == "abc"
    assert (await store.get("abc2")).task.id == "abc2"


async def test_a_task_is_accepted_once(store: SqlTaskStore, ledger: SqlLedger, new_task) -> None:
    await ledger.accept(new_task("t1"), [])
    with pytest.raises(ConflictError):
        await ledger.accept(new_task("t1", prompt="another"), [])
    assert (await store.get("t1")).task.prompt == "fix the test"


async def test_a_task_comes_back_with_its_patch_and_its_change(store, ledger, new_task) -> None:
    task = new_task("task-1", patch=b"diff \xff\x00", sealed_secrets=b"\xff\x00sealed")
    await ledger.accept(task, [])
    attempt = await _claim(ledger)
    assert attempt == Attempt(id=attempt.id, task=task)
    outcome = Outcome(verdict=Verdict.SUCCEEDED, message="done", change=CHANGE, seconds={Phase.AGENT: 1.5})
    await ledger.finish(attempt.lease, outcome)
    status = await store.get("task")
    assert status.task == task
    assert status.state is TaskState.FINISHED
    assert status.finished_at is not None
    assert [each.outcome for each in status.attempts] == [outcome]


async def test_the_list_is_newest_first_and_light(store, ledger, new_task) -> None:
    for id in ("t1", "t2", "t3"):
        await ledger.accept(new_task(id, patch=b"diff"), [])
    await ledger.finish((await _claim(ledger)).lease, Outcome(verdict=Verdict.SUCCEEDED, change=CHANGE))
    statuses = await store.list(limit=2)
    assert [status.task.id for status in statuses] == ["t3", "t2"]
    oldest = (await store.list())[-1]
    assert oldest.task.patch == b""
    outcome = oldest.attempts[0].outcome
    assert outcome is not None
    assert outcome.change == dataclasses.replace(CHANGE, diff=b"")


async def test_the_list_has_what_is_looked_for(store, ledger, new_task) -> None:
    prompts = {"t1": "fix 100% of it", "t2": 'say "Hi\\n" to O\'Brien_', "x3": "Fix nothing", "x4": "tidy up"}
    for id, prompt in prompts.items():
        await ledger.accept(new_task(id, prompt=prompt), [])
    await ledger.finish((await _claim(ledger)).lease, Outcome(verdict=Verdict.FAILED))
    everything = await store.list()
    for only in [
        *(
            TaskFilter(text=text)
            for text in ("", "FIX", "100%", "%", "_", 'y "hi', "\\n", "o'b", "X", "t", "srv", "none")
        ),
        *(TaskFilter(state=state) for state in (*TaskState, *Verdict)),
        TaskFilter(text="fix", state=Verdict.FAILED),
        TaskFilter(environment="none"),
    ]:
        expected = [status.task.id for status in everything if only.matches(status)]
        assert [status.task.id for status in await store.list(only=only)] == expected, only
    assert [status.task.id for status in await store.list(only=TaskFilter(text="fix"), before="x3")] == ["t1"]


@pytest.mark.parametrize(
    ("verdicts", "best"),
    [
        ([Verdict.ERRORED, Verdict.FAILED, Verdict.SUCCEEDED], Verdict.SUCCEEDED),
        ([Verdict.FAILED, Verdict.CANCELLED], Verdict.FAILED),
        ([Verdict.ERRORED, Verdict.CANCELLED], Verdict.CANCELLED),
    ],
)
async def test_a_task_ends_with_its_last_attempt_and_its_best_verdict(store, ledger, new_task, verdicts, best) -> None:
    await ledger.accept(new_task("t1", attempts=len(verdicts)), [])
    for verdict in verdicts:
        assert (await store.get("t1")).verdict is None
        await ledger.finish((await _claim(ledger)).lease, Outcome(verdict=verdict))
    assert (await store.get("t1")).verdict is best
    names = [event.event.wire_name for event in await _log(store, "t1")]
    assert names == ["task_accepted", *["attempt_finished"] * len(verdicts), "task_finished"]


async def test_a_log_is_read_from_any_place(store, ledger, new_task) -> None:
    await ledger.accept(new_task("t1"), ["uncommitted work was left alone"])
    await _record(ledger, (await _claim(ledger)).lease, 1200)
    events = await _log(store, "t1")
    assert [event.seq for event in events] == list(range(1, 1202))
    assert [event.seq for event in await _log(store, "t1", after=1190)] == list(range(1191, 1202))
    assert await _log(store, "t1", after=5000) == []


async def test_a_follower_of_a_task_that_is_over_is_not_kept(store, ledger, new_task) -> None:
    await ledger.accept(new_task("t1"), [])
    await store.cancel(TaskId("t1"))
    with anyio.fail_after(10):
        assert isinstance((await _log(store, "t1", follow=True))[-1].event, TaskFinished)
        assert await _log(store, "t1", after=5000, follow=True) == []


async def test_a_follower_sees_what_this_process_writes(store, ledger, new_task) -> None:
    await ledger.accept(new_task("t1"), [])
    seen: list[RecordedEvent] = []

    async def follow() -> None:
        async for event in store.events(TaskId("t1"), follow=True):
            seen.append(event)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            attempt = await _claim(ledger)
            await _record(ledger, attempt.lease, 3)
            await ledger.finish(attempt.lease, Outcome(verdict=Verdict.SUCCEEDED))
    assert [event.seq for event in seen] == [1, 2, 3, 4, 5, 6]


async def test_a_follower_sees_what_another_process_writes(store, ledger, new_task, tmp_path: Path) -> None:
    await ledger.accept(new_task("t1"), [])
    attempt = await _claim(ledger)
    command = [sys.executable, "-c", FINISH, str(tmp_path / "cloister.db"), "t1", attempt.id]
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: anyio.run_process(command, stderr=subprocess.PIPE))
            events = await _log(store, "t1", follow=True)
    assert isinstance(events[-1].event, TaskFinished)


async def test_cancel_ends_what_waits_and_asks_what_runs(store, ledger, new_task) -> None:
    await ledger.accept(new_task("t1", attempts=3), [])
    running = await _claim(ledger)
    for _ in range(2):
        await store.cancel(TaskId("t1"))
    assert not await ledger.holds(running.lease)
    status = await store.get("t1")
    assert [each.state for each in status.attempts] == [TaskState.RUNNING, TaskState.FINISHED, TaskState.FINISHED]
    assert status.verdict is None
    assert await store.live_sandboxes() == [running.sandbox]
    await ledger.finish(running.lease, Outcome(verdict=Verdict.CANCELLED))
    assert (await store.get("t1")).verdict is Verdict.CANCELLED
    assert await store.live_sandboxes() == []


async def test_cancel_before_any_attempt_ends_the_task(store, ledger, new_task) -> None:
    await ledger.accept(new_task("t1", attempts=2), [])
    await store.cancel(TaskId("t1"))
    await store.cancel(TaskId("t1"))
    events = [event.event for event in await _log(store, "t1")]
    assert [type(event) for event in events[1:]] == [AttemptFinished, AttemptFinished, TaskFinished]
    assert await ledger.claim("worker", lambda _: False) is None
