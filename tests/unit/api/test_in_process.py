from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from cloister.api.in_process import InProcessTransport

pytestmark = pytest.mark.anyio


async def echo(request: Request) -> Response:
    body = await request.body()
    said = f"{request.method} {request.url.path}?{request.url.query} {request.headers['x-name']} {body.decode()}"
    return PlainTextResponse(said, status_code=201)


async def fail(_: Request) -> Response:
    raise ValueError("a bug")


def _client(*routes: Route) -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/echo", echo, methods=["POST"]), Route("/fail", fail), *routes])
    return httpx.AsyncClient(base_url="http://here", transport=InProcessTransport(app))


async def test_a_request_arrives_whole() -> None:
    async with _client() as client:
        answer = await client.post("/echo", params={"a": "b c"}, headers={"X-Name": "me"}, content="body")
    assert (answer.status_code, answer.text) == (201, "POST /echo?a=b+c me body")


async def test_a_bug_in_the_application_is_raised_where_it_is_waited_for() -> None:
    async with _client() as client:
        with pytest.raises(ValueError, match="a bug"):
            await client.get("/fail")


async def test_an_error_of_the_callers_own_stays_what_it_is() -> None:
    with pytest.raises(KeyError):
        async with _client() as client:
            await client.post("/echo", headers={"X-Name": "me"})
            raise KeyError


async def test_a_stream_is_read_while_it_is_made() -> None:
    read = anyio.Event()

    async def parts() -> AsyncIterator[str]:
        yield "one"
        await read.wait()  # never set if the response were held back to its end
        yield "two"

    async def stream(_: Request) -> Response:
        return StreamingResponse(parts())

    with anyio.fail_after(5):
        async with _client(Route("/stream", stream)) as client, client.stream("GET", "/stream") as answer:
            told = answer.aiter_bytes()
            assert await anext(told) == b"one"
            read.set()
            assert await anext(told) == b"two"


async def test_who_goes_away_ends_the_stream() -> None:
    ended = anyio.Event()

    async def parts() -> AsyncIterator[str]:
        try:
            while True:
                yield "on and on"
                await anyio.sleep(0.001)
        finally:
            ended.set()

    async def stream(_: Request) -> Response:
        return StreamingResponse(parts())

    with anyio.fail_after(5):
        async with _client(Route("/stream", stream)) as client:
            async with client.stream("GET", "/stream") as answer:
                await anext(answer.aiter_bytes())
            await ended.wait()
