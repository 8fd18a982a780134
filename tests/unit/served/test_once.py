"""A request that is sent again with its Idempotency-Key."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import httpx
import pytest

from cloister.model.token import Role

from .conftest import Machine, Server

pytestmark = pytest.mark.anyio

TASKS = "/api/v1/tasks"
Http = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def holder(server: Server, role: Role = Role.MEMBER) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {await server.token(role)}"}
    async with httpx.AsyncClient(base_url=server.address, headers=headers, timeout=60) as http:
        yield http


def asked(server: Server, **changes: object) -> dict[str, object]:
    return {"repository": server.repository, "prompt": "fix", "command": "make fix", **changes}


def named(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


async def count(http: httpx.AsyncClient) -> int:
    return len((await http.get(TASKS)).json()["items"])


async def test_the_same_request_is_answered_as_the_first_time_also_by_the_next_server(machine: Machine) -> None:
    async with machine.server() as server, holder(server) as http:
        first = await http.post(TASKS, json=asked(server), headers=named("k"))
        assert (first.status_code, first.headers.get("Idempotent-Replayed")) == (201, None)
        async with server.as_owner() as owner:
            await owner.wait(first.json()["id"])
        again = await http.post(TASKS, json=asked(server), headers=named("k"))
        assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == first.json(), "told of as it was accepted"
        assert (await http.post(TASKS, json=asked(server))).json()["id"] != first.json()["id"], "the twin without a key"
        turns, more = f"{TASKS}/{first.json()['id']}/turns", {"prompt": "and now?", "attempts": 2}
        turn = await http.post(turns, json=more, headers=named("t"))
        assert turn.status_code == 201
        token = http.headers["Authorization"]
    async with machine.server() as server, httpx.AsyncClient(base_url=server.address) as http:
        headers = {**named("t"), "Authorization": token}
        again = await http.post(turns, json=more, headers=headers)
        assert (again.json(), again.headers["Idempotent-Replayed"]) == (turn.json(), "true")


async def test_a_key_is_for_one_request(server_without_worker: Server) -> None:
    server = server_without_worker
    async with holder(server) as http:
        made = await http.post(TASKS, json=asked(server), headers=named("k"))
        other = await http.post(TASKS, json=asked(server, prompt="another"), headers=named("k"))
        assert (other.status_code, other.json()["detail"]) == (422, "this Idempotency-Key was used for another request")
        turn = await http.post(f"{TASKS}/{made.json()['id']}/turns", json={"prompt": "x"}, headers=named("k"))
        assert turn.status_code == 422
        for wrong in ("", "a b", "é".encode(), "k" * 256):
            refused = await http.post(TASKS, json=asked(server), headers={"Idempotency-Key": wrong})
            assert refused.status_code == 422, wrong
        assert await count(http) == 1
        async with holder(server) as another:
            theirs = await another.post(TASKS, json=asked(server, prompt="another"), headers=named("k"))
            assert theirs.status_code == 201, "keys of one token are not those of another"
            assert theirs.json()["id"] != made.json()["id"]


async def test_a_request_that_was_refused_may_be_sent_again(server_without_worker: Server) -> None:
    server = server_without_worker
    async with holder(server) as http:
        wrong = await http.post(TASKS, json=asked(server, attempts=9), headers=named("k"))
        assert wrong.status_code == 422
        assert (await http.post(TASKS, json=asked(server), headers=named("k"))).status_code == 201


async def test_of_many_at_once_one_is_carried_out(server_without_worker: Server) -> None:
    server = server_without_worker
    answers: list[httpx.Response] = []
    async with holder(server) as http:

        async def send() -> None:
            answers.append(await http.post(TASKS, json=asked(server), headers=named("k")))

        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(send)
        assert {answer.status_code for answer in answers} == {201, 409}
        for answer in answers:
            if answer.status_code == 409:
                assert answer.json()["type"] == "urn:cloister:error:under-way"
                assert answer.headers["Retry-After"] == "1"
        assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
        assert await count(http) == 1
