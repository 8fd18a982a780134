import anyio
import pytest

from cloister.together import Together


class Work:
    """Counts how often it is done, and waits for us each time."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = anyio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        await self.go.wait()
        if number == 13:
            raise LookupError("bad luck")
        return number


async def test_who_asks_meanwhile_gets_what_was_begun_after_they_asked() -> None:
    work, together, got = Work(), Together[str, int](), []

    async def ask(key: str = "a") -> None:
        got.append(await together.get(key, work))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        for _ in range(5):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        assert work.begun == 1, "two are never under way at once"
        group.start_soon(ask, "b")
        await anyio.wait_all_tasks_blocked()
        assert work.begun == 2, "another key waits for nobody"
        work.go.set()
    assert sorted(got) == [1, 2, 3, 3, 3, 3, 3]
    assert await together.get("a", work) == 4


async def test_an_error_is_everybodys_and_nothing_is_kept_of_it() -> None:
    work, together, failed = Work(), Together[str, int](), []
    work.begun = 11

    async def ask() -> None:
        try:
            await together.get("a", work)
        except LookupError as error:
            failed.append(str(error))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        work.go.set()
    assert failed == ["bad luck"] * 3
    assert await together.get("a", work) == 14


@pytest.mark.parametrize("begun", [True, False], ids=["at work", "before it began"])
async def test_another_goes_on_when_who_led_is_cancelled(begun: bool) -> None:
    work, together, got = Work(), Together[str, int](), []
    scope = anyio.CancelScope()

    async def lead() -> None:
        with scope:
            await together.get("a", work)

    async def ask() -> None:
        got.append(await together.get("a", work))

    async with anyio.create_task_group() as group:
        if not begun:
            group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
        group.start_soon(lead)
        await anyio.wait_all_tasks_blocked()
        for _ in range(3):
            group.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        work.go.set()
    assert len(got) == 3 + (not begun)
    assert work.begun == 2
