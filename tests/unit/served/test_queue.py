"""Who goes first, and how whoever waits hears of it."""

import anyio
import httpx2
import pytest
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from cloister.cli import follow
from cloister.errors import DeniedError
from cloister.model.fairness import Priority
from cloister.model.task import TaskState
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Program

from ..cli.conftest import Installation
from .conftest import Machine, Server

pytestmark = pytest.mark.anyio


async def test_only_an_admin_goes_before_others(server_without_worker: Server) -> None:
    server = server_without_worker
    async with server.as_holder(Role.MEMBER) as member, server.as_holder(Role.ADMIN) as admin:
        with pytest.raises(DeniedError, match="a high priority takes a role of admin"):
            await member.submit(server.request(priority=Priority.HIGH))
        assert await member.tasks() == []
        low = await member.submit(server.request(priority=Priority.LOW))
        normal = await member.submit(server.request())
        high = await admin.submit(server.request(priority=Priority.HIGH))
        found = {one.task.id: (one.task.asked_by, one.queue_position) for one in await member.tasks()}
    assert found == {low.id: ("MEMBER", 3), normal.id: ("MEMBER", 2), high.id: ("ADMIN", 1)}


async def test_a_caller_names_nobody_else(server_without_worker: Server) -> None:
    server = server_without_worker
    async with server.as_holder(Role.MEMBER) as member:
        fields = {"repository": server.repository, "prompt": "x", "command": "true", "asked_by": "somebody"}
        answer = await member._http.post("/api/v1/tasks", json=fields)
        assert answer.status_code == 422
        assert "asked_by" in answer.text


async def test_commands_show_the_place_of_what_waits(
    machine: Machine, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_PLACE_SECONDS", 0.01)
    async with machine.server(works=False) as server, server.as_owner() as owner:
        first, second = [await owner.submit(server.request()) for _ in range(2)]
        listed = await anyio.to_thread.run_sync(installation.run, "task", "list")
        places = [line.split("\t")[:2] for line in listed.stdout.splitlines()]
        assert places == [[second.id, "queued, place 2"], [first.id, "queued, place 1"]], listed.output
        shown = await anyio.to_thread.run_sync(installation.run, "task", "show", second.id)
        assert "place 2" in shown.stdout, shown.output


async def test_commands_and_the_api_say_what_limit_holds_back(machine: Machine, installation: Installation) -> None:
    installation.node.programs["agent"] = Program(steps=[Hold()])
    async with machine.server(running_per_user=1, slots=2) as server, server.as_owner() as owner:
        first = await owner.submit(server.request())
        with anyio.fail_after(60):
            while (await owner.task(first.id)).state is not TaskState.RUNNING:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        second = await owner.submit(server.request())
        listed = await anyio.to_thread.run_sync(installation.run, "task", "list", "--state", "queued")
        assert listed.stdout.split("\t")[:2] == [second.id, "queued, place 1 (user limit)"], listed.output
        shown = await anyio.to_thread.run_sync(installation.run, "task", "show", second.id)
        assert "held back  as many attempts of its user run as running_per_user allows\n" in shown.stdout, shown.output
        told = (await owner._http.get(f"/api/v1/tasks/{second.id}")).json()
        assert (told["held_by"], told["attempts"][0]["held_by"]) == ("user", "user")
        assert (await owner.task(first.id)).held_by is None
        await _assistants_and_pages_say_it_too(server, second.id)
        for task in (second, first):
            await owner.cancel(task.id)
        await owner.wait(first.id)


async def _assistants_and_pages_say_it_too(server: Server, task: str) -> None:
    held = "as many attempts of its user run as running_per_user allows"
    headers, told = {"Authorization": f"Bearer {await server.token(Role.MEMBER)}"}, []

    async def progress(_: float, __: float | None, message: str | None) -> None:
        told.append(message)

    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        McpClient(streamable_http_client(f"{server.address}/mcp", http_client=http)) as client,
    ):
        found = (await client.call_tool("get_task", {"task": task})).structured_content
        assert (found["queue_position"], found["held_back"]) == (1, held)
        asked = {"task": task, "timeout_seconds": 0.2}
        waited = await client.call_tool("wait_for_task", asked, progress_callback=progress)
        assert waited.structured_content["held_back"] == held
        with anyio.fail_after(60):
            while not told:  # noqa: ASYNC110
                await anyio.sleep(0.02)
        assert told[0] == f"waits: {held}"
        list_page, task_page = [(await http.get(f"{server.address}{path}")).text for path in ("/", f"/tasks/{task}")]
    assert "place 1 (" in list_page and ">user limit<" in list_page
    assert f"It is held back: {held}." in task_page
