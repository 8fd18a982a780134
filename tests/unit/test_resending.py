"""Which requests of the client are sent again."""

from collections.abc import Callable

import httpx
import pytest

from cloister.client import Client
from cloister.errors import CloisterError, UnreachableError
from cloister.model.request import Request

pytestmark = pytest.mark.anyio

ASKED = Request(repository="https://git.example/p.git", prompt="fix")
Outcome = httpx.Response | type[httpx.TransportError]


class Server:
    """Answers with one after the other, the last again and again, and remembers what it was sent."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        outcome = self.outcomes[min(len(self.seen), len(self.outcomes)) - 1]
        if isinstance(outcome, httpx.Response):
            return outcome
        raise outcome("broken", request=request)

    async def asked(self, ask: Callable[[Client], object]) -> None:
        async with httpx.AsyncClient(base_url="http://cloister", transport=httpx.MockTransport(self)) as http:
            await ask(Client(http))  # type: ignore[misc]


def later(status: int, after: str | None = "0") -> httpx.Response:
    return httpx.Response(status, headers={} if after is None else {"Retry-After": after})


NOTHING = httpx.Response(200, json=[])


@pytest.mark.parametrize("first", [httpx.ReadError, httpx.ConnectError, later(429), later(503)], ids=str)
async def test_a_question_is_asked_again(first: Outcome) -> None:
    server = Server(first, NOTHING)
    await server.asked(lambda client: client.tokens())
    assert len(server.seen) == 2


async def test_a_task_is_given_again_by_the_same_key_alone() -> None:
    server = Server(httpx.ReadError, later(409), httpx.Response(422))
    with pytest.raises(CloisterError):
        await server.asked(lambda client: client.submit(ASKED))
    [key] = {request.headers["Idempotency-Key"] for request in server.seen}
    assert len(server.seen) == 3
    other = Server(httpx.Response(422))
    with pytest.raises(CloisterError):
        await other.asked(lambda client: client.submit(ASKED))
    assert other.seen[0].headers["Idempotency-Key"] != key
    with pytest.raises(CloisterError):
        await other.asked(lambda client: client.follow_up("t", "more", idempotency_key="mine"))
    assert other.seen[1].headers["Idempotency-Key"] == "mine"


@pytest.mark.parametrize("first", [httpx.ReadError, httpx.ReadTimeout, later(503, None), later(500), later(409, None)])
async def test_a_change_that_may_have_been_made_is_not_asked_for_again(first: Outcome) -> None:
    server = Server(first, NOTHING)
    with pytest.raises(CloisterError):
        await server.asked(lambda client: client.create_token("ci"))
    assert len(server.seen) == 1


@pytest.mark.parametrize("first", [httpx.ConnectError, later(429), later(503)], ids=str)
async def test_a_change_that_was_not_made_is(first: Outcome) -> None:
    server = Server(first, httpx.Response(204))
    await server.asked(lambda client: client.set_secret("web", "A", "a"))
    assert len(server.seen) == 2


async def test_there_is_an_end() -> None:
    server = Server(httpx.ReadError)
    with pytest.raises(UnreachableError, match="no answer from"):
        await server.asked(lambda client: client.tokens())
    assert 2 < len(server.seen) < 10
    patient = Server(later(429, "3600"))
    with pytest.raises(CloisterError):
        await patient.asked(lambda client: client.tokens())
    assert len(patient.seen) == 1, "nobody waits for an hour"
