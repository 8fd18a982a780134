"""Who goes first, and how whoever waits hears of it."""

import anyio
import pytest

from cloister.cli import follow
from cloister.errors import DeniedError
from cloister.model.fairness import Priority
from cloister.model.token import Role

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
