"""Event streams that break, are not read, or see their server end."""

import socket
from collections.abc import AsyncIterator, Sequence

import anyio
import httpx
import pytest

from cloister.api import event_stream
from cloister.client import tasks as client_tasks
from cloister.model.event import RecordedEvent
from cloister.model.sandbox import Exit
from cloister.model.task import TaskId
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Print, Program

from ..cli.conftest import Installation
from .conftest import Machine, Server

pytestmark = pytest.mark.anyio

LINES = Program(steps=[Print(data=b"one\n"), Hold(), Print(data=b"two\n"), Hold(), Print(data=b"three\n")])


@pytest.fixture
def held(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that waits for us, twice; and a client that does not wait long before it asks again."""
    installation.node.programs["agent"] = LINES
    monkeypatch.setattr(client_tasks, "_PAUSE_SECONDS", 0.01)


@pytest.fixture(autouse=True)
async def deadline() -> AsyncIterator[None]:
    with anyio.fail_after(60):
        yield


async def _told(response: httpx.Response, until: str) -> list[int]:
    """Read ids of events, until a line of the stream holds that."""
    seen = []
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            seen.append(int(line[4:]))
        if until in line:
            return seen
    raise AssertionError(f"it ended before {until}")


def _release(installation: Installation) -> None:
    [name] = installation.node.disks
    installation.node.release(name, "agent")


async def _until_held(server: Server, task: TaskId, text: str) -> None:
    async with server.as_owner() as client:
        async for recorded in client.events(task, follow=True):
            if getattr(recorded.event, "text", "") == text:
                return


async def test_a_stream_goes_on_after_the_event_that_was_seen_last(server: Server, installation: Installation) -> None:
    installation.node.programs["agent"] = LINES
    async with server.as_owner() as owner:
        task = await owner.submit(server.request())
    url, headers = f"/api/v1/tasks/{task.id}/events", {"Authorization": f"Bearer {await server.token(Role.VIEWER)}"}
    async with httpx.AsyncClient(base_url=server.address, headers=headers) as http:
        async with http.stream("GET", url) as response:
            seen = await _told(response, "one")  # and then it breaks
        _release(installation)
        await _until_held(server, task.id, "two\n")
        async with http.stream("GET", url, headers={"Last-Event-ID": str(seen[-1])}) as response:
            seen += await _told(response, "two")
        _release(installation)
        async with http.stream("GET", url, headers={"Last-Event-ID": str(seen[-1])}) as response:
            seen += await _told(response, "event: end")
        assert seen == list(range(1, len(seen) + 1)), "none twice, none left out"
        assert "task_finished" in (await http.get(url, headers={"Last-Event-ID": str(seen[-2])})).text
        assert "task_finished" not in (await http.get(url, headers={"Last-Event-ID": str(seen[-1])})).text
        for wrong in ("-1", "x", "1" * 30, ""):
            refused = await http.get(url, headers={"Last-Event-ID": wrong})
            assert refused.status_code == 422, wrong
            assert refused.headers["Content-Type"] == "application/problem+json"


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("far", [False, True], ids=["socket", "address"])
async def test_a_client_reads_on_where_it_was_when_the_server_is_started_again(
    machine: Machine, installation: Installation, far: bool
) -> None:
    told: list[RecordedEvent] = []

    async def follow() -> None:
        opened = server.as_holder(Role.VIEWER) if far else server.as_owner()
        async with opened as client:
            async for recorded in client.events(task.id, follow=True):
                told.append(recorded)
        followed.set()

    followed = anyio.Event()
    async with anyio.create_task_group() as group:
        async with machine.server() as server:
            async with server.as_owner() as owner:
                task = await owner.submit(server.request())
            group.start_soon(follow)
            await _until_held(server, task.id, "one\n")
            port = server.port
        _release(installation)
        async with machine.server(port=port) as again:
            await _until_held(again, task.id, "two\n")
        _release(installation)
        async with machine.server(port=port) as again:
            await _until_held(again, task.id, "three\n")
            async with again.as_owner() as owner:
                await owner.wait(task.id)
                kept = [recorded async for recorded in owner.events(task.id)]
                await followed.wait()
    assert told == kept
    assert _output(kept) == "one\ntwo\nthree\n"
    assert [one.event.retry for one in kept if one.event.wire_name == "attempt_started"] == [0, 1, 2]  # type: ignore[attr-defined]


def _output(events: Sequence[RecordedEvent]) -> str:
    return "".join(one.event.text for one in events if one.event.wire_name == "output")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("held")
async def test_a_server_ends_in_time_while_streams_are_open(machine: Machine) -> None:
    async with machine.server() as server, server.as_owner() as owner:
        task = await owner.submit(server.request())
        await _until_held(server, task.id, "one\n")
        token = await server.token(Role.VIEWER)
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http:
            url = f"{server.address}/api/v1/tasks/{task.id}/events"
            async with http.stream("GET", url) as response:
                await _told(response, "one")
                with anyio.fail_after(3):  # less than an answer in the making is given
                    await server.end()
                    with pytest.raises(AssertionError, match="it ended before"):
                        await _told(response, "event: end")


async def test_a_reader_who_stops_reading_is_cut_off_and_others_go_on(
    server: Server, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "SLOWEST_READER_SECONDS", 0.5)
    lines = [Print(data=b"x" * 65535 + b"\n") for _ in range(300)]
    installation.node.programs["agent"] = Program(steps=[*lines, Hold()], ends=Exit(status=0))
    async with server.as_owner() as owner:
        task = await owner.submit(server.request())
        token = await server.token(Role.VIEWER)
        with socket.create_connection(("127.0.0.1", server.port)) as idle:
            idle.setblocking(False)
            asked = f"GET /api/v1/tasks/{task.id}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
            idle.send(asked.encode())
            read = 0
            async for recorded in owner.events(task.id, follow=True):
                read += len(getattr(recorded.event, "text", ""))
                if read == 300 * 65536:
                    break
            await anyio.sleep(1)
            got = await _drain(idle)
            assert 0 < got < read, "it was cut off before all was told"
        async with server.as_owner() as other:
            assert (await other.task(task.id)).task.id == task.id
        installation.node.release_all()
        await owner.wait(task.id)


async def _drain(idle: socket.socket) -> int:
    """Return how much there is to read until the other end closes."""
    got = 0
    while True:
        await anyio.wait_readable(idle)
        try:
            part = idle.recv(1 << 20)
        except ConnectionResetError:
            return got
        if not part:
            return got
        got += len(part)
