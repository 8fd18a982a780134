"""What arrived is worked off once, whatever fails meanwhile."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from cloister.errors import DeniedError, RepositoryError
from cloister.model.inbox import Arrived
from cloister.stores.database import Database
from cloister.stores.inbox import SqlInboxStore
from cloister.triggers.handling import Handled, LaterError
from cloister.triggers.inbox import CLAIM_SECONDS, MOST_TRIES, Inbox
from cloister.triggers.signature import WebhookSecrets
from cloister.triggers.slow_lane import MOST_AT_ONCE as SLOW_AT_ONCE
from cloister.triggers.slow_lane import MOST_IN_LANE, SlowLane
from cloister.vault.fake import FakeVault

pytestmark = pytest.mark.anyio


@dataclass
class Scripted:
    """A handler that does what the test says."""

    do: Callable[[Arrived], Awaitable[Handled | None]]
    seen: list[str] = field(default_factory=list)
    kinds: frozenset[str] = frozenset({"issues"})

    async def handle(self, arrived: Arrived) -> Handled | None:
        self.seen.append(arrived.id)
        return await self.do(arrived)


@dataclass
class Desk:
    store: SqlInboxStore
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def inbox(self, *handlers: Scripted) -> Inbox:
        secrets = WebhookSecrets(vault=FakeVault())
        return Inbox(store=self.store, secrets=secrets, load=lambda: handlers, now=lambda: self.now)

    async def work_off(self, inbox: Inbox) -> None:
        async with anyio.create_task_group() as group:
            await inbox.work_off(group)

    async def only(self) -> Arrived:
        (found,) = await self.store.list(limit=10)
        return found


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Database.open(tmp_path / "cloister.db") as database:
        yield Desk(SqlInboxStore(database))


async def fine(_: Arrived) -> Handled:
    return Handled("done")


async def test_the_same_a_hundred_times_at_once_is_one(desk: Desk) -> None:
    handler = Scripted(fine)
    inbox, new = desk.inbox(handler), list[bool]()

    async def take(number: int) -> None:
        id = "one" if number % 2 else f"another-{number}"  # the id is not signed: it says nothing
        new.append(await inbox.take(id, "issues", b"{}"))

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(take, number)
    assert new.count(True) == 1
    await desk.work_off(inbox)
    assert len(handler.seen) == 1
    found = await desk.only()
    assert (found.outcome, found.body, found.next_at) == ("done", b"", None)
    assert not await inbox.take("one", "issues", b"{}"), "for ever"
    assert await inbox.take("two", "issues", b"{ }"), "the twin"


async def test_what_failed_is_tried_again_and_given_up_in_the_end(desk: Desk) -> None:
    async def fail(_: Arrived) -> Handled:
        raise RepositoryError("no answer")

    handler = Scripted(fail)
    inbox = desk.inbox(handler)
    await inbox.take("one", "issues", b"{}")
    for tries in range(1, MOST_TRIES + 1):
        await desk.work_off(inbox)
        await desk.work_off(inbox)
        assert len(handler.seen) == tries, "not before its time"
        desk.now += timedelta(hours=8)
    found = await desk.only()
    assert (found.outcome, found.next_at, found.body) == ("given up: no answer", None, b"")


async def test_a_bug_of_one_stops_no_other(desk: Desk) -> None:
    async def meet(arrived: Arrived) -> Handled:
        if arrived.id == "one":
            raise KeyError("a bug")
        return Handled("done")

    inbox = desk.inbox(Scripted(meet))
    await inbox.take("one", "issues", b"{}")
    await inbox.take("two", "issues", b"{ }")
    await desk.work_off(inbox)
    found = {it.id: it for it in await desk.store.list(limit=10)}
    assert found["two"].outcome == "done"
    assert found["one"].next_at is not None


async def test_who_may_not_is_told_so_once(desk: Desk) -> None:
    async def refuse(_: Arrived) -> Handled:
        raise DeniedError("ann may not")

    handler = Scripted(refuse)
    inbox = desk.inbox(handler)
    await inbox.take("one", "issues", b"{}")
    await desk.work_off(inbox)
    desk.now += timedelta(days=1)
    await desk.work_off(inbox)
    assert (len(handler.seen), (await desk.only()).outcome) == (1, "ann may not")


async def test_what_has_to_wait_is_no_fault(desk: Desk) -> None:
    async def wait(_: Arrived) -> Handled:
        raise LaterError("a turn is not over", seconds=30)

    handler = Scripted(wait)
    inbox = desk.inbox(handler)
    await inbox.take("one", "issues", b"{}")
    for _ in range(MOST_TRIES + 5):
        await desk.work_off(inbox)
        desk.now += timedelta(seconds=31)
    assert len(handler.seen) == MOST_TRIES + 5
    assert (await desk.only()).next_at is not None


async def test_what_takes_long_keeps_nothing_quick_waiting(desk: Desk) -> None:
    lane, begun, go_on = SlowLane(), list[str](), anyio.Event()

    async def take(arrived: Arrived) -> Handled:
        if arrived.body == b"quick":
            return Handled("done")
        async with lane.entered():
            begun.append(arrived.id)
            await go_on.wait()
        return Handled("done at last")

    inbox = Inbox(store=desk.store, secrets=WebhookSecrets(vault=FakeVault()), slow=lane, now=lambda: desk.now)
    inbox.load = lambda: (Scripted(take),)

    async def outcomes(of: str) -> list[str]:
        return [it.outcome for it in await desk.store.list(limit=100) if it.id.startswith(of)]

    for number in range(MOST_IN_LANE + 2):
        await inbox.take(f"slow-{number}", "issues", str(number).encode())
    async with anyio.create_task_group() as group, anyio.create_task_group() as running:
        running.start_soon(inbox.run)
        with anyio.fail_after(60):
            while sum("take long" in it for it in await outcomes("slow")) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert len(begun) == SLOW_AT_ONCE
            await inbox.take("quick", "issues", b"quick")
            while await outcomes("quick") != ["done"]:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            assert len(begun) == SLOW_AT_ONCE
            go_on.set()
            while (await outcomes("slow")).count("done at last") < MOST_IN_LANE:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert len(lane) == 0
        running.cancel_scope.cancel()
        group.cancel_scope.cancel()


async def test_what_a_killed_server_was_at_is_another_s(desk: Desk) -> None:
    inbox = desk.inbox(Scripted(fine))
    await inbox.take("one", "issues", b"{}")
    assert await desk.store.claim(await desk.only(), desk.now + timedelta(seconds=CLAIM_SECONDS)), "then it was killed"
    following = Scripted(fine)
    await desk.work_off(desk.inbox(following))
    assert following.seen == []
    desk.now += timedelta(seconds=CLAIM_SECONDS + 1)
    await desk.work_off(desk.inbox(following))
    assert (following.seen, (await desk.only()).outcome) == (["one"], "done")
