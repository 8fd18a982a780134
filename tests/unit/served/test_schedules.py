"""Tasks at set times: each time one, however many servers look, and whenever one of them is killed."""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.to_thread
import pytest

from cloister import wiring
from cloister.automation.schedules import Schedules
from cloister.errors import CloisterError, ConflictError, DeniedError, UsageError
from cloister.model.given import Upload
from cloister.model.missed import Missed
from cloister.model.schedule import MOST_RUNS_KEPT, ScheduledRun
from cloister.model.secret import SecretValue
from cloister.model.task import TaskId
from cloister.model.token import Role
from cloister.settings import Settings

from ..cli.conftest import Installation
from .conftest import Machine, Server

pytestmark = pytest.mark.anyio

MIDNIGHT = datetime(2026, 5, 4, tzinfo=UTC)


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.at = MIDNIGHT

    def now(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def another_server(installation: Installation, clock: Clock) -> AsyncIterator[Schedules]:
    """Its schedules, over the same database."""
    async with wiring.open_application(Settings(state=installation.state)) as application:
        yield dataclasses.replace(application.automation.schedules, now=clock.now)


def of(server: Server, clock: Clock) -> Schedules:
    return dataclasses.replace(server.application.automation.schedules, now=clock.now)


async def daily(schedules: Schedules, server: Server, missed: Missed = Missed.ONCE) -> None:
    await schedules.create("daily", "0 3 * * *", server.request(), timezone="UTC", missed=missed, created_by="ann")


async def tasks_of(server: Server) -> Sequence[TaskId]:
    return [status.task.id for status in await server.application.intake.tasks()]


async def test_a_task_is_given_each_time_it_is_due(server_without_worker: Server, clock: Clock) -> None:
    server, schedules = server_without_worker, of(server_without_worker, clock)
    await daily(schedules, server)
    await schedules.give_due()
    assert await tasks_of(server) == [], "it is not due yet"
    for day in range(2):
        clock.at = MIDNIGHT + timedelta(days=day, hours=3, seconds=1)
        await schedules.give_due()
        await schedules.give_due()
    later, earlier = await schedules.runs("daily")
    assert await tasks_of(server) == [later.task, earlier.task]
    assert (earlier.due_at, earlier.missed, earlier.reason) == (MIDNIGHT + timedelta(hours=3), 0, "")
    assert (await schedules.get("daily")).next_at == MIDNIGHT + timedelta(days=2, hours=3)
    status = await server.application.intake.task(str(later.task))
    assert (status.task.prompt, status.task.asked_by) == ("fix the test", "ann")


async def test_several_servers_give_it_once(
    server_without_worker: Server, installation: Installation, clock: Clock
) -> None:
    server = server_without_worker
    async with another_server(installation, clock) as second, another_server(installation, clock) as third:
        first = of(server, clock)
        await daily(first, server)
        clock.at = MIDNIGHT + timedelta(hours=3)
        async with anyio.create_task_group() as group:
            for schedules in (first, second, third, first):
                group.start_soon(schedules.give_due)
        for schedules in (first, second, third):
            await schedules.give_due()
    (run,) = await first.runs("daily")
    assert await tasks_of(server) == [run.task]


class Killed(BaseException):
    """The server ends here."""


@pytest.mark.parametrize("killed_at", ["finish", "submit"])
async def test_a_server_that_was_killed_meanwhile_gives_it_once(
    server_without_worker: Server, clock: Clock, killed_at: str
) -> None:
    server, schedules = server_without_worker, of(server_without_worker, clock)
    await daily(schedules, server)
    clock.at = MIDNIGHT + timedelta(hours=3)

    class Killing:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            if name == killed_at:
                raise Killed
            return getattr(self._inner, name)

    killed = dataclasses.replace(schedules, store=Killing(schedules.store), intake=Killing(schedules.intake))
    with pytest.raises(Killed):
        await killed.give_due()
    assert len(await tasks_of(server)) == (1 if killed_at == "finish" else 0)
    await schedules.give_due()
    (run,) = await schedules.runs("daily")
    assert await tasks_of(server) == [run.task]


@pytest.mark.parametrize(("missed", "given"), [(Missed.ONCE, 1), (Missed.SKIP, 0)])
async def test_times_at_which_no_server_ran_are_one_task_or_none(
    server_without_worker: Server, clock: Clock, missed: Missed, given: int
) -> None:
    server, schedules = server_without_worker, of(server_without_worker, clock)
    await daily(schedules, server, missed)
    clock.at = MIDNIGHT + timedelta(days=3, hours=12)
    await schedules.give_due()
    assert len(await tasks_of(server)) == given
    (run,) = await schedules.runs("daily")
    assert (run.due_at, run.missed) == (MIDNIGHT + timedelta(days=3, hours=3), 3)
    assert run.reason == ("" if given else "missed: no server ran then")
    clock.at = MIDNIGHT + timedelta(days=4, hours=3, minutes=1)
    await schedules.give_due()
    assert len(await tasks_of(server)) == given + 1, "the next one comes in either case"


async def test_a_clock_that_is_put_back_gives_nothing_twice(server_without_worker: Server, clock: Clock) -> None:
    server, schedules = server_without_worker, of(server_without_worker, clock)
    await daily(schedules, server)
    clock.at = MIDNIGHT + timedelta(hours=4)
    await schedules.give_due()
    clock.at = MIDNIGHT + timedelta(hours=2)
    await schedules.give_due()
    clock.at = MIDNIGHT + timedelta(hours=5)
    await schedules.give_due()
    assert len(await tasks_of(server)) == 1


async def test_what_is_paused_gives_nothing_and_misses_nothing(server_without_worker: Server, clock: Clock) -> None:
    server, schedules = server_without_worker, of(server_without_worker, clock)
    await daily(schedules, server)
    await schedules.pause("daily", paused=True)
    clock.at = MIDNIGHT + timedelta(days=2)
    await schedules.give_due()
    assert (await schedules.pause("daily", paused=False)).next_at == MIDNIGHT + timedelta(days=2, hours=3)
    await schedules.give_due()
    assert (await tasks_of(server), await schedules.runs("daily")) == ([], [])


async def test_a_task_that_is_refused_says_why_and_the_next_one_comes(
    server_without_worker: Server, clock: Clock, installation: Installation
) -> None:
    server, schedules = server_without_worker, of(server_without_worker, clock)
    await daily(schedules, server)
    (installation.project / ".git").rename(installation.project / "elsewhere")
    clock.at = MIDNIGHT + timedelta(hours=3)
    await schedules.give_due()
    (run,) = await schedules.runs("daily")
    assert run.task is None and run.reason
    (installation.project / "elsewhere").rename(installation.project / ".git")
    clock.at = MIDNIGHT + timedelta(days=1, hours=3)
    await schedules.give_due()
    assert len(await tasks_of(server)) == 1


async def test_a_history_has_an_end(server_without_worker: Server, clock: Clock) -> None:
    schedules = of(server_without_worker, clock)
    await daily(schedules, server_without_worker)
    for day in range(MOST_RUNS_KEPT + 5):
        due = MIDNIGHT + timedelta(days=day, hours=3)
        run = ScheduledRun(schedule="daily", due_at=due, started_at=due, reason="refused")
        assert await schedules.store.begin(run, due_at=due, next_at=due + timedelta(days=1))
    runs = await schedules.runs("daily")
    assert (len(runs), runs[-1].due_at) == (MOST_RUNS_KEPT, MIDNIGHT + timedelta(days=5, hours=3))


@pytest.mark.parametrize(
    ("changes", "cron", "name", "said"),
    [
        ({"secrets": {"TOKEN": SecretValue("a value of a secret")}}, "0 3 * * *", "x", "keeps no secrets' values"),
        ({"patch": b"diff"}, "0 3 * * *", "x", "has no patch"),
        ({"files": (Upload(name="a", data=b""),)}, "0 3 * * *", "x", "has no files"),
        ({"agent": "nobody", "command": None}, "0 3 * * *", "x", "no agent 'nobody'"),
        ({"prompt": ""}, "0 3 * * *", "x", "prompt"),
        ({"variables": {"A": "\ud800"}}, "0 3 * * *", "x", "not valid Unicode"),
        ({}, "0 3 * * \ud800", "x", "no cron expression"),
        ({}, "0 3 * *", "x", "no cron expression"),
        ({}, "0 3 * * *", "a/b", "a schedule's name"),
    ],
)
async def test_what_cannot_be_a_schedule_is_refused(
    server_without_worker: Server, changes: dict[str, Any], cron: str, name: str, said: str
) -> None:
    async with server_without_worker.as_owner() as owner:
        with pytest.raises(UsageError, match=said):
            await owner.create_schedule(name, cron, server_without_worker.request(**changes))
        assert await owner.schedules() == []


async def test_who_may_not_name_a_path_may_not_later_either(
    server_without_worker: Server, installation: Installation
) -> None:
    request = server_without_worker.request(repository=str(installation.project))
    async with server_without_worker.as_holder(Role.MEMBER) as member:
        with pytest.raises(DeniedError, match="a path of the server"):
            task = {"repository": request.repository, "prompt": "x", "command": "true"}
            await member._call("POST", "/schedules", {"name": "x", "cron": "0 3 * * *", "task": task})
    async with server_without_worker.as_holder(Role.VIEWER) as viewer:
        with pytest.raises(DeniedError):
            await viewer.create_schedule("x", "0 3 * * *", server_without_worker.request())
    async with server_without_worker.as_owner() as owner:
        await owner.create_schedule("x", "0 3 * * *", request)
        with pytest.raises(ConflictError, match="already"):
            await owner.create_schedule("x", "0 3 * * *", request)


async def test_a_server_gives_what_a_command_has_scheduled(machine: Machine, installation: Installation) -> None:
    arguments = ("schedule", "create", "soon", "--cron", "* * * * *", "--command", "make fix", "fix it")
    made = await anyio.to_thread.run_sync(lambda: installation.run(*arguments))
    assert made.exit_code == 0, made.output
    assert "no server runs" in made.output
    async with machine.server() as server:
        schedules = server.application.automation.schedules
        await schedules.store.set_next("soon", datetime.now(UTC) - timedelta(seconds=1))
        async with anyio.create_task_group() as group, server.as_owner() as owner:
            group.start_soon(server.application.automation.run)
            with anyio.fail_after(60):
                while not (tasks := await owner.tasks()):  # noqa: ASYNC110
                    await anyio.sleep(0.05)
                await owner.wait(tasks[0].task.id)
            group.cancel_scope.cancel()
        shown = await anyio.to_thread.run_sync(lambda: installation.run("schedule", "runs", "soon"))
        assert tasks[0].task.id in shown.output
        listed = await anyio.to_thread.run_sync(lambda: installation.run("schedule", "list"))
        assert "* * * * *" in listed.output and "fix it" in listed.output
        for command in ("pause", "resume", "rm"):
            done = await anyio.to_thread.run_sync(installation.run, "schedule", command, "soon")
            assert done.exit_code == 0, done.output
        assert await schedules.list() == []


async def test_what_fails_for_a_moment_ends_no_schedule(server_without_worker: Server, clock: Clock) -> None:
    failed = anyio.Event()

    class Failing:
        async def list(self) -> None:
            failed.set()
            raise CloisterError("the database is locked")

    failing = dataclasses.replace(of(server_without_worker, clock), store=Failing())  # type: ignore[arg-type]
    async with anyio.create_task_group() as group:
        group.start_soon(failing.run)
        with anyio.fail_after(60):
            await failed.wait()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


async def test_a_path_of_another_machine_is_nothing_to_look_at_each_time(
    server_without_worker: Server, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_without_worker
    monkeypatch.setenv("CLOISTER_TOKEN", await server.token(Role.MEMBER))
    asked = (
        "--server",
        server.address,
        "schedule",
        "create",
        "nightly",
        "--cron",
        "0 3 * * *",
        "--command",
        "true",
        "x",
    )
    for path in ((), ("--repo", str(installation.project))):
        ran = await anyio.to_thread.run_sync(installation.run, *asked, *path)
        assert ran.exit_code == 2, ran.output
        assert (
            "is on this machine, where the server cannot look" in ran.stderr and "hint: name an address" in ran.stderr
        )
    async with server.as_owner() as owner:
        assert await owner.schedules() == []
        assert await owner.tasks() == []
