from dataclasses import replace
from datetime import UTC, datetime

import anyio
import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from cloister import journal, worker
from cloister.agents.command import CommandAgent
from cloister.egress.fake import FakeEgress
from cloister.errors import DiskFullError, StoreError, VaultError
from cloister.forges.fake import FakeForge, FakeRepository
from cloister.model.environment import Environment, Limits
from cloister.model.event import RecordMissed
from cloister.model.sandbox import Commit
from cloister.model.task import AttemptId, Repository, Revision, Task, TaskId, TaskState, Verdict
from cloister.model_roster import ModelRoster
from cloister.queues.fake import FakeQueue
from cloister.sandboxes.fake import FakeBackend, FakeNode, Hold, OnCall, Program
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.sandboxes.fake_packs import FakeAgentPacks
from cloister.stores.fake_files import FakeFileStore
from cloister.stores.fake_snapshots import FakeSnapshotCatalog
from cloister.tools import Tools
from cloister.vault.fake import FakeVault
from cloister.worker import Drain, run_worker

COMMIT = Commit("a" * 40)


def made_task(name: str, *, attempts: int = 1, limits: Limits | None = None) -> Task:
    return Task(
        id=TaskId(name),
        repository=Repository(address="/srv/shop", directory="shop"),
        revision=Revision(ref="main", commit=COMMIT, default_branch="main", default_commit=COMMIT),
        environment=Environment(name="web", limits=limits or Limits()),
        prompt="fix it",
        agent="command",
        command="fix",
        attempts=attempts,
        accepted_at=datetime.now(UTC),
    )


def made_tools(node: FakeNode, queue: FakeQueue, on_call: OnCall | None = None) -> Tools:
    return Tools(
        queue=queue,
        images=FakeImageStore(node),
        forge=FakeForge({"/srv/shop": FakeRepository(refs={"main": COMMIT})}),
        vault=FakeVault(),
        catalog=FakeSnapshotCatalog(),
        backend=FakeBackend(node, on_call=on_call),
        egress=FakeEgress(),
        agents={"command": CommandAgent()},
        packs=FakeAgentPacks(),
        files=FakeFileStore(),
        models=ModelRoster(vault=FakeVault()),
    )


async def test_the_log_says_of_each_attempt_that_it_begins_and_how_it_ends() -> None:
    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue()
    task = made_task("t1")
    await queue.submit(task)
    with capture_logs([merge_contextvars]) as lines:
        await run_worker(made_tools(node, queue), slots=1, until_idle=True)
    begun, ended = [line for line in lines if line["log_level"] == "info"]
    assert (begun["event"], begun["task"], begun["retry"]) == ("attempt begins", "t1", 0)
    assert (ended["event"], ended["attempt"], ended["verdict"]) == ("attempt ended", begun["attempt"], "succeeded")
    assert ended["trace"] == task.trace_id
    assert "teardown" in ended["seconds"]


async def test_no_more_attempts_than_slots_run_at_once() -> None:
    node, queue = FakeNode(programs={"agent": Program(steps=[Hold()])}), FakeQueue()
    await queue.submit(made_task("t1", attempts=4))
    async with anyio.create_task_group() as group:

        async def work() -> None:
            await run_worker(made_tools(node, queue), slots=2, until_idle=True)

        group.start_soon(work)
        for _ in range(2):
            await anyio.wait_all_tasks_blocked()
            assert len(node.disks) == 2
            node.release_all()
    assert (await queue.get("t1")).verdict is Verdict.SUCCEEDED
    assert len(node.commands) == 4


async def test_a_bug_in_one_attempt_does_not_reach_its_neighbour() -> None:
    async def on_call(sandbox: str, call: str) -> None:
        if sandbox == "bad-1-1" and call == "start agent":
            raise ZeroDivisionError("a bug")

    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue()
    for name in ("bad", "good"):
        await queue.submit(made_task(name))
    await run_worker(made_tools(node, queue, on_call), slots=2, until_idle=True)
    verdicts = {name: (await queue.get(name)).verdict for name in ("bad", "good")}
    assert verdicts == {"bad": Verdict.ERRORED, "good": Verdict.SUCCEEDED}
    assert not node.disks


async def test_a_cancellation_ends_one_attempt_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.01)
    node, queue = FakeNode(programs={"agent": Program(steps=[Hold()])}), FakeQueue()
    for name in ("unwanted", "wanted"):
        await queue.submit(made_task(name))
    async with anyio.create_task_group() as group:

        async def work() -> None:
            await run_worker(made_tools(node, queue), slots=2, until_idle=True)

        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        await queue.cancel(TaskId("unwanted"))
        async for _ in queue.events(TaskId("unwanted"), follow=True):
            pass
        assert list(node.disks) == ["wanted-1-1"]
        node.release_all()
    verdicts = {name: (await queue.get(name)).verdict for name in ("unwanted", "wanted")}
    assert verdicts == {"unwanted": Verdict.CANCELLED, "wanted": Verdict.SUCCEEDED}


async def test_work_that_comes_later_is_taken() -> None:
    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue()
    async with anyio.create_task_group() as group:

        async def work() -> None:
            await run_worker(made_tools(node, queue), slots=1)

        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        await queue.submit(made_task("t1"))
        async for _ in queue.events(TaskId("t1"), follow=True):
            pass
        group.cancel_scope.cancel()
    assert (await queue.get("t1")).verdict is Verdict.SUCCEEDED


async def test_a_worker_that_is_drained_takes_no_more_and_ends_with_what_it_has() -> None:
    node, queue, drain = FakeNode(programs={"agent": Program(steps=[Hold()])}), FakeQueue(), Drain()
    await queue.submit(made_task("t1", attempts=2))
    async with anyio.create_task_group() as group:

        async def work() -> None:
            await run_worker(made_tools(node, queue), slots=1, drain=drain)
            assert drain.running == 0
            ended.set()

        ended = anyio.Event()
        group.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        drain.ask()
        await anyio.wait_all_tasks_blocked()
        assert (drain.running, ended.is_set()) == (1, False), "what it has goes on"
        node.release_all()
        await ended.wait()
    assert [one.state for one in (await queue.get("t1")).attempts] == [TaskState.FINISHED, TaskState.QUEUED]


async def test_an_idle_worker_that_is_drained_ends() -> None:
    drain = Drain()
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:

            async def work() -> None:
                await run_worker(made_tools(FakeNode(), FakeQueue()), slots=1, drain=drain)

            group.start_soon(work)
            await anyio.wait_all_tasks_blocked()
            drain.ask()


async def test_an_attempt_without_time_fails_before_its_agent() -> None:
    node, queue = FakeNode(), FakeQueue()
    await queue.submit(made_task("t1", limits=Limits(time_seconds=0.0)))
    await run_worker(made_tools(node, queue), slots=1, until_idle=True)
    outcome = (await queue.get("t1")).attempts[0].outcome
    assert outcome is not None
    assert (outcome.verdict, outcome.reason) == (Verdict.FAILED, "limits.time was used up before the agent started")
    assert not node.commands


async def test_an_outcome_is_written_once_the_store_works_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LONGEST_PAUSE_SECONDS", 0.01)
    failures = [StoreError("the database is locked"), DiskFullError("the disk is full")]

    async def on_call(attempt: str, call: str) -> None:
        if call.startswith("finish") and failures:
            raise failures.pop()

    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue(on_call=on_call)
    await queue.submit(made_task("t1"))
    await run_worker(made_tools(node, queue), slots=1, until_idle=True)
    assert failures == []
    assert (await queue.get("t1")).verdict is Verdict.SUCCEEDED


async def test_a_log_that_cannot_be_written_for_a_while_costs_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PAUSE_SECONDS", 0.0)
    failures = [StoreError("the database is locked")] * 3

    async def on_call(attempt: str, call: str) -> None:
        if call == "record phase_started" and failures:
            raise failures.pop()

    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue(on_call=on_call)
    await queue.submit(made_task("t1"))
    await run_worker(made_tools(node, queue), slots=1, until_idle=True)
    assert failures == []
    assert (await queue.get("t1")).verdict is Verdict.SUCCEEDED
    begun = [e.phase async for e in queue.events(TaskId("t1")) if e.event.wire_name == "phase_started"]
    assert len(begun) == 5, "no event is lost"
    assert not node.disks


async def test_whatever_breaks_in_an_attempt_its_sandbox_goes() -> None:
    async def on_call(attempt: str, call: str) -> None:
        if call == "record diff_collected":
            raise ZeroDivisionError("a bug")

    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue(on_call=on_call)
    await queue.submit(made_task("t1"))
    await run_worker(made_tools(node, queue), slots=1, until_idle=True)
    assert (await queue.get("t1")).verdict is Verdict.ERRORED
    assert not node.disks


async def test_the_record_is_made_anew_when_the_outcome_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "LONGEST_PAUSE_SECONDS", 0.01)
    failures = {"told": StoreError("the database is locked"), "finish succeeded": StoreError("it still is")}

    async def on_call(attempt: str, call: str) -> None:
        if call in failures:
            raise failures.pop(call)

    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue(on_call=on_call)
    await queue.submit(made_task("t1"))
    await run_worker(made_tools(node, queue), slots=1, until_idle=True)
    assert failures == {}
    assert await queue.find_record(AttemptId("t1-1-1")) is not None
    assert "record_missed" not in [e.event.wire_name async for e in queue.events(TaskId("t1"))]


async def test_a_record_that_cannot_be_signed_costs_no_attempt() -> None:
    async def on_call(environment: str, call: str) -> None:
        if call == "sign":
            raise VaultError("the key of records is gone")

    node, queue = FakeNode(programs={"agent": Program()}), FakeQueue()
    await queue.submit(made_task("t1"))
    tools = replace(made_tools(node, queue), vault=FakeVault(on_call=on_call))
    await run_worker(tools, slots=1, until_idle=True)
    assert (await queue.get("t1")).verdict is Verdict.SUCCEEDED
    assert await queue.find_record(AttemptId("t1-1-1")) is None
    missed = [e.event async for e in queue.events(TaskId("t1")) if isinstance(e.event, RecordMissed)]
    assert missed == [RecordMissed(reason="the key of records is gone")]
