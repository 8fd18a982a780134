"""The embedded queue between real processes, one of which is killed."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from cloister.errors import LeaseLostError, StoreError
from cloister.model.event import Output
from cloister.model.phase import Phase
from cloister.model.task import Outcome, TaskId, Verdict
from cloister.queues.embedded import EmbeddedQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database
from cloister.stores.tasks import SqlTaskStore

WORKER = """
import sys, anyio
from pathlib import Path
from cloister.model.event import Output
from cloister.model.phase import Phase
from cloister.model.task import Outcome, Verdict
from cloister.queues.embedded import EmbeddedQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database

state, events = Path(sys.argv[1]), int(sys.argv[2])

async def main():
    async with (
        Database.open(state / "cloister.db") as database,
        EmbeddedQueue.open(SqlLedger(database), state / "workers") as queue,
    ):
        attempt = await queue.claim()
        for end in range(1, events + 1):
            await queue.record(attempt, Phase.AGENT, Output(stream="stdout", text="x", command="agent", offset=end))
        await queue.output_offset(attempt, "agent")
        print(attempt.id, flush=True)
        if sys.argv[3] == "finish":
            await queue.finish(attempt, Outcome(verdict=Verdict.SUCCEEDED))
        else:
            await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture
async def queue(database: Database, tmp_path: Path) -> AsyncIterator[EmbeddedQueue]:
    async with EmbeddedQueue.open(SqlLedger(database), tmp_path / "workers") as opened:
        yield opened


def _start(state: Path, *, events: int = 0, then: str = "hang") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(state), str(events), then]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@contextmanager
def _working(state: Path, *, events: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with _start(state, events=events) as process:
        assert process.stdout is not None
        claimed = process.stdout.readline().strip()
        try:
            yield process, claimed
        finally:
            process.kill()


def _output(end: int) -> Output:
    return Output(stream="stdout", text="x", command="agent", offset=end)


async def test_the_attempt_of_a_killed_worker_is_free_at_once(queue, database, tmp_path: Path, new_task) -> None:
    await queue.submit(new_task())
    with _working(tmp_path, events=30) as (process, claimed):
        assert await queue.claim() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        attempt = await queue.claim()
    assert attempt is not None
    assert (attempt.id, attempt.retry) == (claimed, 1)
    assert await queue.output_offset(attempt, "agent") == 30
    await queue.finish(attempt, Outcome(verdict=Verdict.SUCCEEDED))
    assert (await SqlTaskStore(database).get("t1")).verdict is Verdict.SUCCEEDED


async def test_a_stopped_worker_that_wakes_up_later_still_holds_its_lease(queue, tmp_path: Path, new_task) -> None:
    await queue.submit(new_task())
    with _working(tmp_path) as (process, _):
        process.send_signal(signal.SIGSTOP)
        assert await queue.claim() is None


async def test_processes_that_write_one_log_count_on_without_gaps(queue, database, tmp_path: Path, new_task) -> None:
    await queue.submit(new_task(attempts=3))
    processes = [_start(tmp_path, events=300, then="finish") for _ in range(3)]
    for process in processes:
        await anyio.to_thread.run_sync(process.communicate)
        assert process.returncode == 0
    log = [event async for event in SqlTaskStore(database).events(TaskId("t1"))]
    assert [event.seq for event in log] == list(range(1, 1 + 3 * 300 + 3 + 1 + 1))
    assert log[-1].event.wire_name == "task_finished"


async def test_events_wait_for_a_database_that_is_broken_for_a_while(queue, database, tmp_path, new_task) -> None:
    await queue.submit(new_task())
    attempt = await queue.claim()
    _run_sql(tmp_path, "ALTER TABLE events RENAME TO elsewhere")
    await queue.record(attempt, Phase.AGENT, _output(1))
    with pytest.raises(StoreError):
        await queue.finish(attempt, Outcome(verdict=Verdict.SUCCEEDED))
    with pytest.raises(StoreError):
        await queue.record(attempt, Phase.AGENT, _output(2))
    _run_sql(tmp_path, "ALTER TABLE elsewhere RENAME TO events")
    await queue.record(attempt, Phase.AGENT, _output(3))
    await queue.finish(attempt, Outcome(verdict=Verdict.SUCCEEDED))
    log = [event.event async for event in SqlTaskStore(database).events(TaskId("t1"))]
    assert [event.offset for event in log if isinstance(event, Output)] == [1, 2, 3]


def _run_sql(state: Path, statement: str) -> None:
    connection = sqlite3.connect(state / "cloister.db")
    connection.execute(statement)
    connection.close()


async def test_an_error_inside_the_block_comes_out_as_it_is(database: Database, tmp_path: Path) -> None:
    with pytest.raises(LeaseLostError):
        async with EmbeddedQueue.open(SqlLedger(database), tmp_path / "workers"):
            raise LeaseLostError("as it is")


async def test_what_was_recorded_is_written_when_the_block_is_cancelled(database, tmp_path: Path, new_task) -> None:
    with anyio.CancelScope() as scope:
        async with EmbeddedQueue.open(SqlLedger(database), tmp_path / "workers") as queue:
            await queue.submit(new_task())
            attempt = await queue.claim()
            scope.cancel()
            await queue.record(attempt, Phase.AGENT, _output(1))
            await anyio.sleep_forever()
    log = [event.event async for event in SqlTaskStore(database).events(TaskId("t1"))]
    assert log[-1] == _output(1)
