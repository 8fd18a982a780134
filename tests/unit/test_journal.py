from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from itertools import pairwise

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister import journal as journal_module
from cloister.agent_reader import AgentReader
from cloister.errors import LeaseLostError, StoreError
from cloister.journal import Journal, open_journal
from cloister.model.agent_report import AgentReport, CommandStarted, Message
from cloister.model.asker import Asker, printable
from cloister.model.environment import Environment
from cloister.model.event import AgentEvent, AgentEventKind, AttemptStarted, Event, Output
from cloister.model.network import Decision, EgressRecord
from cloister.model.phase import Phase
from cloister.model.sandbox import Chunk, Commit, Exit, Stream
from cloister.model.secret import DeliveredSecrets, SecretValue
from cloister.model.task import Attempt, Repository, Revision, Task, TaskId
from cloister.protocols import AgentParser, Process
from cloister.queues.fake import FakeQueue
from cloister.vault.fake import FakeVault

SECRETS = DeliveredSecrets(values={"TOKEN": SecretValue("hünter-2345")}, versions={"TOKEN": "1"})


class Printed:
    """A process that printed these pieces and has ended."""

    def __init__(self, *pieces: bytes) -> None:
        ends = [sum(map(len, pieces[: n + 1])) for n in range(len(pieces))]
        self._chunks = [Chunk(Stream.STDOUT, piece, end) for piece, end in zip(pieces, ends, strict=True)]

    async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
        for chunk in self._chunks:
            if chunk.end > offset:
                yield chunk

    async def wait(self) -> Exit:
        return Exit(status=0)

    async def stop(self, grace_seconds: float = 0.0) -> None:
        raise AssertionError("nobody stops it")


def _conforms(process: Printed) -> Process:
    return process


async def claimed(queue: FakeQueue) -> Attempt:
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
    await queue.submit(task)
    attempt = await queue.claim()
    assert attempt is not None
    return attempt


async def recorded(queue: FakeQueue) -> list[tuple[Phase | None, Event]]:
    return [(entry.phase, entry.event) async for entry in queue.events(TaskId("t1")) if entry.attempt]


def text_of(entries: list[tuple[Phase | None, Event]]) -> str:
    return "".join(event.text for _, event in entries if isinstance(event, Output))


async def test_events_arrive_in_order_each_with_its_phase() -> None:
    queue = FakeQueue()
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        journal.record(AttemptStarted(retry=0))
        with journal.phase(Phase.SETUP):
            journal.record(AttemptStarted(retry=1))
        journal.record(AttemptStarted(retry=2))
    phases = [(phase, event.wire_name) for phase, event in await recorded(queue)]
    assert phases == [
        (None, "attempt_started"),
        (Phase.SETUP, "phase_started"),
        (Phase.SETUP, "attempt_started"),
        (Phase.SETUP, "phase_finished"),
        (None, "attempt_started"),
    ]
    assert journal.seconds.keys() == {Phase.SETUP}


async def test_a_phase_that_fails_is_finished_and_measured() -> None:
    queue = FakeQueue()
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        with pytest.raises(ZeroDivisionError), journal.phase(Phase.AGENT):
            raise ZeroDivisionError
    assert [event.wire_name for _, event in await recorded(queue)] == ["phase_started", "phase_finished"]
    assert Phase.AGENT in journal.seconds


async def test_a_late_decision_belongs_to_the_phase_that_made_it() -> None:
    queue = FakeQueue()
    decision = Decision(allowed=True, rule="full")
    late = EgressRecord(
        sandbox="t1-1-1", phase=Phase.SETUP, host="example.com", port=443, method="CONNECT", decision=decision
    )
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        with journal.phase(Phase.AGENT):
            journal.record_egress(late)
    assert [phase for phase, event in await recorded(queue) if event.wire_name == "egress_allowed"] == [Phase.SETUP]


@pytest.mark.parametrize("allowed", [True, False])
async def test_whatever_a_sandbox_chooses_of_a_request_is_masked(*, allowed: bool) -> None:
    value = SECRETS.values["TOKEN"].reveal()
    told = EgressRecord(
        sandbox="t1-1-1",
        phase=Phase.SETUP,
        host=f"{value}.example.com",
        port=443,
        method=value,
        decision=Decision(allowed=allowed, rule=f"{value} is no rule", hint=value),
        command=f"curl -H {value}",
        path=f"/{value}/x",
    )
    queue = FakeQueue()
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        journal.mask(SECRETS)
        with journal.phase(Phase.SETUP):
            journal.record_egress(told)
    (event,) = [event for _, event in await recorded(queue) if event.wire_name.startswith("egress")]
    assert value not in repr(event)
    assert "[secret TOKEN].example.com" in repr(event)


async def test_a_command_line_is_masked_before_it_is_cut() -> None:
    queue, value = FakeQueue(), SECRETS.values["TOKEN"].reveal()
    asker = Asker(pid=17, command="curl " + "x" * 185 + value)
    assert value[:3] in printable(asker.command), "it is cut within the value"
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        journal.mask(SECRETS)
        assert value[:3] not in printable(journal.masked_asker(asker).command)


@given(st.lists(st.integers(min_value=1, max_value=40), max_size=12), st.integers(min_value=0, max_value=13))
def test_wherever_output_is_cut_and_reading_is_interrupted_the_log_is_the_same(cuts: list[int], died: int) -> None:
    printed = "ä token hünter-2345 é\nhünter-2345".encode()
    borders = sorted({0, *(cut for cut in cuts if cut < len(printed)), len(printed)})
    pieces = [printed[start:end] for start, end in pairwise(borders)]

    async def follow_twice() -> str:
        queue = FakeQueue()
        attempt = await claimed(queue)
        for seen in (pieces[: min(died, len(pieces) - 1)], pieces):
            await _follow_until_killed(attempt, queue, seen, whole=seen is pieces)
        return text_of(await recorded(queue))

    assert anyio.run(follow_twice) == "ä token [secret TOKEN] é\n[secret TOKEN]"


async def _follow_until_killed(
    attempt: Attempt, queue: FakeQueue, pieces: list[bytes], *, whole: bool, parser: AgentParser | None = None
) -> None:
    read = anyio.Event()

    class Held(Printed):
        async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
            async for chunk in super().output(offset):
                yield chunk
            if not whole:
                read.set()
                await anyio.sleep_forever()

    async with anyio.create_task_group() as group:

        async def follow() -> None:
            async with open_journal(attempt, queue, FakeVault()) as journal:
                journal.mask(SECRETS)
                reader = await _reader(journal, parser)
                await journal.follow(Held(*pieces), "setup", resumed=True, reader=reader)

        group.start_soon(follow)
        if not whole:
            await read.wait()
            group.cancel_scope.cancel()


async def _reader(journal: Journal, parser: AgentParser | None) -> AgentReader | None:
    if parser is None:
        return None
    before = await journal.commands_before("setup")
    return AgentReader(parser, "setup", mask=journal.mask_text, commands_before=before)


class Echo:
    """Takes every line for a message, and has a last word; a line that begins with $ is a command."""

    def __init__(self) -> None:
        self._commands = 0

    def feed(self, line: str) -> Sequence[AgentReport]:
        if not line.startswith("$"):
            return [Message(text=line)]
        self._commands += 1
        return [CommandStarted(number=self._commands, command_line=line), Message(text="running")]

    def close(self) -> Sequence[AgentReport]:
        return [Message(text="bye")]


@given(st.lists(st.integers(min_value=1, max_value=60), max_size=12), st.integers(min_value=0, max_value=13))
def test_wherever_reading_is_interrupted_what_an_agent_tells_is_told_once(cuts: list[int], died: int) -> None:
    printed = "one hünter-2345\ntwo\n$ make\nthree\nfour h\\u00fcnter-2345".encode()
    borders = sorted({0, *(cut for cut in cuts if cut < len(printed)), len(printed)})
    pieces = [printed[start:end] for start, end in pairwise(borders)]

    async def follow_twice() -> list[tuple[Phase | None, Event]]:
        queue = FakeQueue()
        attempt = await claimed(queue)
        earlier = AgentEvent(kind=AgentEventKind.COMMAND_STARTED, number=2, command_line="ls", command="agent")
        await queue.record(attempt, Phase.AGENT, earlier)
        for seen in (pieces[: min(died, len(pieces))], pieces, pieces):
            await _follow_until_killed(attempt, queue, seen, whole=seen is pieces, parser=Echo())
        return await recorded(queue)

    events = [event for _, event in anyio.run(follow_twice)]
    told = [event for event in events if isinstance(event, AgentEvent)][1:]
    texts = ["one [secret TOKEN]", "two", "", "running", "three", "four h\\u00fcnter-2345", "bye"]
    assert [event.text for event in told] == texts
    assert told[2].number == 3
    assert {event.told for event in events if isinstance(event, Output)} == {True}


async def test_what_an_agent_prints_as_an_error_is_output() -> None:
    queue = FakeQueue()

    class Failing(Printed):
        async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
            yield Chunk(Stream.STDERR, b"warning\n", 8)

    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        reader = AgentReader(Echo(), "agent", mask=journal.mask_text, commands_before=0)
        await journal.follow(Failing(), "agent", resumed=False, reader=reader)
    first, last = [event for _, event in await recorded(queue)]
    assert first == Output(stream="stderr", text="warning\n", command="agent", offset=8)
    assert isinstance(last, AgentEvent)
    assert last.text == "bye"


async def test_bytes_that_are_no_text_are_marked_and_the_last_words_are_the_end() -> None:
    queue = FakeQueue()
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        _, last = await journal.follow(Printed(b"a" * 3000, b"\xff end\n\xf0\x9f"), "agent", resumed=False)
    assert last == "a" * (2000 - len("\ufffd end\n\ufffd")) + "\ufffd end\n\ufffd"
    assert text_of(await recorded(queue)).endswith("\ufffd end\n\ufffd")


async def test_of_a_line_that_was_overwritten_the_last_words_are_what_a_terminal_shows() -> None:
    queue = FakeQueue()
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        printed = Printed(b"10%\r", b"90%\rfetched\r\nfailed: x\r\r\n\r")
        _, last = await journal.follow(printed, "setup", resumed=False)
    assert last == "fetched\nfailed: x"


async def test_the_last_words_begin_with_a_whole_line() -> None:
    queue = FakeQueue()
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        _, last = await journal.follow(Printed(b"a" * 1500 + b"\n", b"b" * 1800), "setup", resumed=False)
    assert last == "b" * 1800


async def test_reading_waits_for_a_slow_queue() -> None:
    go_on = anyio.Event()
    taken = 0

    async def slow(_: str, call: str) -> None:
        if call == "record output":
            await go_on.wait()

    class Counted(Printed):
        async def output(self, offset: int = 0) -> AsyncIterator[Chunk]:
            nonlocal taken
            async for chunk in super().output(offset):
                taken += 1
                yield chunk

    queue = FakeQueue(on_call=slow)
    attempt = await claimed(queue)
    async with anyio.create_task_group() as group, open_journal(attempt, queue, FakeVault()) as journal:

        async def follow() -> None:
            await journal.follow(Counted(*[b"line\n"] * 5000), "agent", resumed=False)

        group.start_soon(follow)
        await anyio.wait_all_tasks_blocked()
        assert taken < 1100
        go_on.set()
        while taken < 5000:
            await anyio.wait_all_tasks_blocked()


async def test_the_last_events_of_a_cancelled_attempt_arrive() -> None:
    queue = FakeQueue()
    attempt = await claimed(queue)
    with anyio.CancelScope() as scope:
        async with open_journal(attempt, queue, FakeVault()) as journal:
            scope.cancel()
            with journal.phase(Phase.AGENT):
                await anyio.lowlevel.checkpoint()
    assert [event.wire_name for _, event in await recorded(queue)] == ["phase_started", "phase_finished"]


async def test_a_queue_that_takes_nothing_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_: str, call: str) -> None:
        if call.startswith("record"):
            await anyio.sleep_forever()

    monkeypatch.setattr(journal_module, "_CLOSING_SECONDS", 0.01)
    queue = FakeQueue(on_call=never)
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        journal.record(AttemptStarted(retry=0))
    assert await recorded(queue) == []


async def test_a_queue_that_cannot_write_ends_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: str, call: str) -> None:
        if call.startswith("record"):
            raise StoreError("the disk is full")

    monkeypatch.setattr(journal_module, "_PAUSE_SECONDS", 0.0)
    queue = FakeQueue(on_call=broken)
    async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
        for retry in range(3):
            journal.record(AttemptStarted(retry=retry))
            await anyio.wait_all_tasks_blocked()
    assert [event.retry for _, event in await recorded(queue)] == [0, 1, 2], "the queue keeps them"


async def test_a_lost_lease_ends_the_attempt_and_recording_goes_on_harmlessly() -> None:
    async def lost(_: str, call: str) -> None:
        if call.startswith("record"):
            raise LeaseLostError("taken over")

    queue = FakeQueue(on_call=lost)
    with pytest.raises(ExceptionGroup) as caught:
        async with open_journal(await claimed(queue), queue, FakeVault()) as journal:
            journal.record(AttemptStarted(retry=0))
            try:
                await anyio.sleep_forever()
            finally:
                journal.record(AttemptStarted(retry=0))
    assert caught.group_contains(LeaseLostError)
