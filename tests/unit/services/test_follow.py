"""What is told of services when their command is followed; sandboxes and logs are the package's fakes."""

import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import SandboxError, TaskFailedError
from cloister.journal import open_journal
from cloister.model.environment import Environment, Limits, Service
from cloister.model.event import Event, Output, ServiceEnded, ServiceReady, ServiceStarted
from cloister.model.sandbox import Chunk, Command, Commit, EndCause, Exit, SandboxName, SandboxSpec, Stream
from cloister.model.task import Attempt, Repository, Revision, Task, TaskId
from cloister.protocols import Process
from cloister.queues.fake import FakeQueue
from cloister.sandboxes.fake import Append, FakeBackend, FakeNode, FakeSandbox, Print, Program
from cloister.sandboxes.fake_images import FakeImageStore
from cloister.services.follow import follow_with_services
from cloister.vault.fake import FakeVault

DB = Service(name="db", command="postgres", ready="tcp:5432", timeout_seconds=9.0)
CACHE = Service(name="cache", command="redis-server")
LOG, ENDED = "/cloister/out/services/db.log", "/cloister/out/services/ended"
BEGUN = b"started db\nready db 31\nstarted cache\nrun\n"


class Told:
    """Follows scripted programs, one worker after another, and remembers what was recorded."""

    def __init__(self, attempt: Attempt, queue: FakeQueue) -> None:
        self.attempt, self.queue = attempt, queue

    async def follow(
        self, *steps: Print | Append, ends: Exit | None = None, resumed: bool = False, log_bytes: int = 4096
    ) -> tuple[Exit, str]:
        sandbox = await self._sandbox(steps, ends or Exit(status=0))
        process = await sandbox.start(Command(id="agent", argv=("x",), timeout_seconds=9.0, output_bytes=2**20))
        return await self.follow_process(process, sandbox, resumed=resumed, log_bytes=log_bytes)

    async def follow_process(
        self, process: Process, sandbox: FakeSandbox | None = None, *, resumed: bool = False, log_bytes: int = 4096
    ) -> tuple[Exit, str]:
        sandbox = sandbox or await self._sandbox((), Exit(status=0))
        async with open_journal(self.attempt, self.queue, FakeVault()) as journal:
            failure: Exception | None = None
            try:
                return await follow_with_services(
                    process, "agent", (DB, CACHE), sandbox, journal, resumed=resumed, log_bytes=log_bytes
                )
            except (TaskFailedError, SandboxError) as error:
                failure = error
        assert failure is not None
        raise failure

    async def _sandbox(self, steps: Sequence[Print | Append], ends: Exit) -> FakeSandbox:
        node = FakeNode(programs={"agent": Program(steps=steps, ends=ends)})
        image = await FakeImageStore(node).ensure("base")
        spec = SandboxSpec(image=image, snapshot=None, directory="shop", mirror=Path("/m"), limits=Limits())
        return await FakeBackend(node).create(SandboxName("one"), spec)

    async def events(self) -> list[Event]:
        return [it.event async for it in self.queue.events(self.attempt.task.id) if it.attempt]

    async def printed(self, command: str) -> str:
        outputs = [it for it in await self.events() if isinstance(it, Output) and it.command == command]
        return "".join(it.text for it in outputs)

    async def of_services(self) -> list[str]:
        kinds = (ServiceStarted, ServiceReady, ServiceEnded)
        return [f"{it.wire_name} {it.service}" for it in await self.events() if isinstance(it, kinds)]


@pytest.fixture
async def told() -> Told:
    return await new_told()


async def new_told() -> Told:
    commit = Commit("a" * 40)
    task = Task(
        id=TaskId("t1"),
        repository=Repository(address="/srv/shop", directory="shop"),
        revision=Revision(ref="main", commit=commit, default_branch="main", default_commit=commit),
        environment=Environment(name="web"),
        prompt="fix it",
        agent="command",
        accepted_at=datetime.now(UTC),
    )
    queue = FakeQueue()
    await queue.submit(task)
    attempt = await queue.claim()
    assert attempt is not None
    return Told(attempt, queue)


def out(data: bytes) -> Print:
    return Print(data=data)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            b"started db\nfailed db ended 1\n",
            "service db ended with status 1 before it was ready; it last said: no disk",
        ),
        (
            b"started db\nfailed db late -\n",
            "service db was not ready (tcp:5432) after 9 seconds; it last said: no disk",
        ),
        (b"started db\nfailed db late 0\n", "its command line had ended with status 0; it last said: no disk"),
        (b"failed db taken\n", "service db was not started: something else listens already where it would be ready"),
        (b"started db\n", "service db was being waited for when the container ended: status 1; it last said: no disk"),
        (b"", "the container ended before a service was started: status 1"),
    ],
)
async def test_a_service_that_fails_before_the_command_is_the_tasks_failure(
    told: Told, said: bytes, expected: str
) -> None:
    with pytest.raises(TaskFailedError) as failed:
        await told.follow(out(said or b" "), Append(path=LOG, data=b"no disk\n"), ends=Exit(status=1))
    assert expected in str(failed.value)


async def test_the_time_limit_and_lack_of_memory_are_told_apart(told: Told) -> None:
    with pytest.raises(TaskFailedError, match="db was being waited for when the container ended: timed out"):
        await told.follow(out(b"started db\n"), ends=Exit(status=137, cause=EndCause.TIMED_OUT))


@pytest.mark.parametrize(
    "forged", [b"failed db ended 1\n", b"started db\nfailed db taken\n", b"\nfailed db taken\nrun\n"]
)
async def test_a_command_that_runs_cannot_say_that_it_did_not(told: Told, forged: bytes) -> None:
    ended, _ = await told.follow(out(BEGUN), out(forged), ends=Exit(status=1))
    assert ended == Exit(status=1)
    assert await told.printed("agent") == forged.decode()
    assert await told.of_services() == ["service_started db", "service_ready db", "service_started cache"]


async def test_a_command_without_the_word_is_one_that_did_not_run(told: Told) -> None:
    """The twin of the test before it: the word alone makes the difference."""
    with pytest.raises(TaskFailedError):
        await told.follow(out(BEGUN.removesuffix(b"run\n")), out(b"failed db ended 1\n"), ends=Exit(status=1))


@pytest.mark.parametrize(
    "hostile",
    [
        b"started db\n" * 5000,
        b"ready db -1\nready db 1e9\nready db 99999999999999\nready ../x 1\nready db\nstarted other\n\xff\xfe\n",
        b"x" * 500_000 + b"run\nfailed db \x1b[2J\n",
        b"failed nobody ended 1\n",
    ],
)
async def test_what_a_service_says_in_the_launchers_place_floods_and_breaks_nothing(told: Told, hostile: bytes) -> None:
    with pytest.raises(TaskFailedError):
        await told.follow(out(hostile), ends=Exit(status=1))
    assert len(await told.events()) <= 1


async def test_a_supervisor_that_was_lost_is_our_failure_as_without_services(told: Told) -> None:
    class Lost:
        async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
            yield Chunk(Stream.STDOUT, BEGUN, len(BEGUN))

        async def wait(self) -> Exit:
            raise SandboxError("the supervisor was killed")

        async def stop(self, grace_seconds: float = 0.0) -> None:
            raise AssertionError("nobody stops it")

    with pytest.raises(SandboxError, match="was killed"):
        await told.follow_process(Lost())


class Cut:
    """A process whose output comes in these pieces, with a header of five bytes before each, as the real one's."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = list(pieces)

    async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
        end = 0
        for piece in self._pieces:
            end += 5 + len(piece)
            yield Chunk(Stream.STDOUT, piece, end)

    async def wait(self) -> Exit:
        return Exit(status=3)

    async def stop(self, grace_seconds: float = 0.0) -> None:
        raise AssertionError("nobody stops it")


@given(st.sets(st.integers(1, len(BEGUN) + 11)), st.integers(0, 6))
def test_wherever_output_is_cut_and_a_worker_dies_all_is_told_once(cuts: set[int], survivors: int) -> None:
    text = BEGUN + b"run\nand out\n"
    borders = [0, *sorted(cuts), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(borders)]

    async def follow_twice() -> None:
        told = await new_told()
        ended, _ = await told.follow_process(Cut(pieces))
        assert ended == Exit(status=3)
        whole = await told.events()
        assert await told.printed("agent") == "run\nand out\n"
        again = await new_told()
        for event in whole[:survivors]:  # what a former worker recorded before it was killed
            await again.queue.record(again.attempt, None, event)
        await again.follow_process(Cut(pieces), resumed=True)
        assert await again.events() == whole

    anyio.run(follow_twice)


async def test_what_services_print_is_recorded_apart_up_to_the_limit(told: Told) -> None:
    log = b"".join(b"line %d\n" % number for number in range(1000))
    await told.follow(out(BEGUN), Append(path=LOG, data=log), out(b"done\n"), log_bytes=100)
    assert await told.printed("agent") == "done\n"
    shown = await told.printed("service:db")
    assert log.decode().startswith(shown) and 100 <= len(shown) < 1000


async def test_ends_are_told_once_and_only_of_services_that_there_are(told: Told) -> None:
    ends = b"db 0\nother 1\ndb 1\ncache 999\n\ncache 137\nnonsense\ncache 1\nca"
    await told.follow(out(BEGUN), Append(path=ENDED, data=ends))
    ended = [(it.service, it.status) for it in await told.events() if isinstance(it, ServiceEnded)]
    assert ended == [("db", 0), ("cache", 137)]


async def test_the_next_worker_tells_of_logs_and_ends_what_is_new(told: Told) -> None:
    first = [out(BEGUN), Append(path=LOG, data=b"one\ntw"), Append(path=ENDED, data=b"db 1\n")]
    await told.follow(*first)
    before = await told.of_services()
    await told.follow(*first, Append(path=LOG, data=b"o\nthree\n"), Append(path=ENDED, data=b"cache 2\n"), resumed=True)
    assert await told.printed("service:db") == "one\ntwo\nthree\n"
    assert await told.of_services() == [*before, "service_ended cache"]
