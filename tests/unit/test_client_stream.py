"""What comes between the events of a stream."""

import httpx

from cloister.client import Client
from cloister.model.task import TaskId


async def test_signs_of_life_between_events_are_passed_over() -> None:
    line = '{"event": "attempt_started", "seq": 1, "at": "2026-01-01T00:00:00+00:00", "task": "t1", "attempt": "t1-1-1", "phase": null, "retry": 0}'  # noqa: E501
    text = f": ping\n\nevent: ping\n\nevent: attempt_started\ndata: {line}\n\n: ping\n\nevent: end\ndata: {{}}\n\n"

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)

    async with httpx.AsyncClient(base_url="http://cloister", transport=httpx.MockTransport(answer)) as http:
        told = [recorded async for recorded in Client(http).events(TaskId("t1"), follow=True)]
    assert [recorded.seq for recorded in told] == [1]
