"""A caller's trace goes on in the task that they give."""

import httpx
import pytest

from cloister.model.event import TaskAccepted
from cloister.model.token import Role
from cloister.model.trace import TraceParent

from .conftest import Server

pytestmark = pytest.mark.anyio


async def test_a_task_goes_on_the_trace_of_whoever_gives_it(server_without_worker: Server) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    body = {"repository": server_without_worker.repository, "prompt": "fix it", "command": "true"}
    headers = {"Authorization": f"Bearer {await server_without_worker.token(Role.MEMBER)}"}
    async with httpx.AsyncClient(base_url=server_without_worker.address, headers=headers) as http:
        traced = await http.post(
            "/api/v1/tasks", json=body, headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}, timeout=60
        )
        wrong = await http.post("/api/v1/tasks", json=body, headers={"traceparent": "nonsense"}, timeout=60)
    assert (traced.status_code, traced.json()["trace_id"]) == (201, trace)
    assert wrong.status_code == 201, "a trace is no reason to refuse a task"
    assert wrong.json()["trace_parent"] is None and len(wrong.json()["trace_id"]) == 32
    async with server_without_worker.as_owner() as owner:
        (accepted,) = [event.event async for event in owner.events(traced.json()["id"])]
        assert isinstance(accepted, TaskAccepted) and accepted.trace == trace
        request = server_without_worker.request(trace_parent=TraceParent(trace_id="ab" * 16, span_id="cd" * 8))
        assert (await owner.submit(request)).trace_id == "ab" * 16
