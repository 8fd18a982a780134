"""The order in which is told what was told, whoever is still looked for."""

from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.abc import TaskGroup

from cloister.egress.messages import Question
from cloister.egress.teller import Teller
from cloister.model.asker import Asker, Connection
from cloister.model.network import Decision, EgressEnd, EgressRecord
from cloister.model.phase import Phase

END = EgressEnd(sandbox="t-1", phase=Phase.AGENT, flow=1, sent_bytes=1, received_bytes=1, seconds=0.1)


def record(flow: int) -> EgressRecord:
    decision = Decision(allowed=True, rule="agent internet is full")
    return EgressRecord(
        sandbox="t-1", phase=Phase.AGENT, host="example.com", port=80, method="GET", decision=decision, flow=flow
    )


def question(number: int) -> Question:
    return Question("t-1", number, Connection("127.0.0.1", 40000 + number, "127.0.0.1", 3128))


class Finder:
    """Finds nobody before it may."""

    def __init__(self) -> None:
        self.may_find = anyio.Event()
        self.asked: list[int] = []

    async def __call__(self, connection: Connection) -> Asker | None:
        self.asked.append(connection.source_port)
        await self.may_find.wait()
        return Asker(pid=17, command=f"curl\n{connection.source_port}")


@pytest.fixture
async def tasks() -> AsyncIterator[TaskGroup]:
    async with anyio.create_task_group() as group:
        yield group


async def test_what_comes_later_waits_for_who_is_looked_for(tasks: TaskGroup) -> None:
    told: list[EgressRecord | EgressEnd] = []
    find = Finder()
    teller = Teller(tasks)
    teller.renew(told.append, find)
    teller.tell(record(1), question(1))
    teller.tell(END)
    teller.tell(record(2), question(1))
    teller.tell(record(3), question(2))
    await anyio.wait_all_tasks_blocked()
    assert told == []
    find.may_find.set()
    await teller.drain()
    assert [of.flow for of in told] == [1, 1, 2, 3]
    assert [of.command for of in told if isinstance(of, EgressRecord)] == ["curl?40001", "curl?40001", "curl?40002"]
    assert find.asked == [40001, 40002], "once a connection"


async def test_a_search_that_does_not_end_is_given_up(tasks: TaskGroup) -> None:
    told: list[EgressRecord | EgressEnd] = []
    teller = Teller(tasks)
    teller.renew(told.append, Finder())
    teller.tell(record(1), question(1))
    await teller.drain()
    assert told == [record(1)]


async def test_when_nobody_looks_it_is_told_at_once(tasks: TaskGroup) -> None:
    told: list[EgressRecord | EgressEnd] = []
    teller = Teller(tasks)
    teller.renew(told.append, None)
    teller.tell(record(1), question(1))
    assert told == [record(1)]


async def test_no_more_is_looked_for_than_is_remembered(tasks: TaskGroup) -> None:
    told: list[EgressRecord | EgressEnd] = []
    find = Finder()
    teller = Teller(tasks)
    teller.renew(told.append, find)
    for number in range(1, 2001):
        teller.tell(record(number), question(number))
    await anyio.wait_all_tasks_blocked()
    assert len(find.asked) == 512
    find.may_find.set()
    await teller.drain()
    assert [of.flow for of in told] == list(range(1, 2001))
    for number in range(3001, 3501):
        teller.tell(record(number), question(number))
    await teller.drain()
    assert len(find.asked) == 1012, "those that are done make place"
