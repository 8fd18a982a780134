"""Doors to models: what passes, what is put in, what is counted, and what is told when a provider fails."""

import json
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

import anyio
import pytest

from cloister.egress.process import EgressProcess
from cloister.model.model_access import ModelApi
from cloister.model.model_door import ModelDoor
from cloister.model.model_usage import TokenUsage
from cloister.model.secret import Grant, SecretValue

from .door import FIRST, read_to_end
from .doored import Doored, until
from .origin import Authority, Origin
from .world import World

KEY = "sk-canary-0123456789/abc+def"
MARK = "cloister-placeholder-00112233445566778899aabbccddeeff"
GO_ON = threading.Event()

CALLS = {
    ModelApi.RESPONSES: "/responses",
    ModelApi.CHAT: "/chat/completions",
    ModelApi.MESSAGES: "/v1/messages",
    ModelApi.GEMINI: "/v1beta/models/g-1:streamGenerateContent",
}
_RESPONSE = {
    "model": "m-1",
    "output": [{"usage": {"input_tokens": 1, "output_tokens": 1}, "text": '"usage": {"input_tokens": 2}'}],
    "usage": {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 60}, "output_tokens": 7},
}
_CHAT = {
    "model": "m-1",
    "usage": {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens": 7},
}
_MESSAGE = {
    "model": "m-1",
    "usage": {"input_tokens": 30, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 10, "output_tokens": 7},
}
_GEMINI = {
    "modelVersion": "m-1",
    "usageMetadata": {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 4,
        "thoughtsTokenCount": 3,
    },
}
WHOLE = {ModelApi.RESPONSES: _RESPONSE, ModelApi.CHAT: _CHAT, ModelApi.MESSAGES: _MESSAGE, ModelApi.GEMINI: _GEMINI}
STREAMS = {
    ModelApi.RESPONSES: [
        json.dumps({"type": "response.created", "response": {"model": "m-1", "usage": None}}),
        json.dumps({"type": "response.completed", "response": _RESPONSE}),
    ],
    ModelApi.CHAT: [
        json.dumps({"model": "m-1", "choices": [{"delta": {"content": "x"}}]}),
        json.dumps(_CHAT),
        "[DONE]",
    ],
    ModelApi.MESSAGES: [
        json.dumps(
            {"type": "message_start", "message": {**_MESSAGE, "usage": {**_MESSAGE["usage"], "output_tokens": 1}}}
        ),
        json.dumps({"type": "message_delta", "usage": {"output_tokens": 7}}),
        json.dumps({"type": "message_stop"}),
    ],
    ModelApi.GEMINI: [json.dumps({**_GEMINI, "usageMetadata": {"promptTokenCount": 100}}), json.dumps(_GEMINI)],
}
USED = TokenUsage(input_tokens=100, cached_tokens=60, output_tokens=7)
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def _answer(stream: socket.socket, request: bytes) -> None:
    """Do what the request's header X-Do says."""
    api = next(api for api, path in CALLS.items() if path.encode() in request)
    wanted = re.search(rb"(?i)x-do: (\S+)", request)
    match wanted[1].decode() if wanted else "":
        case "whole":
            _send(stream, "200 OK", json.dumps(WHOLE[api]))
        case "401" | "403" as status:
            _send(stream, f"{status} No", json.dumps({"error": {"message": f"Incorrect API key: {KEY}", "code": 1}}))
        case "400":
            _send(stream, "400 Bad Request", json.dumps({"error": {"message": "no", "details": ["API_KEY_INVALID"]}}))
        case "429":
            _send(stream, "429 Slow", '{"error": {"message": "too\\nmany"}}', "Retry-After: 17\r\n")
        case "503":
            _send(stream, "503 Overloaded", "<html>")
        case "cut":
            _stream(stream, STREAMS[api][:1])
        case "short":  # framed well, but not what the protocol ends with
            _stream(stream, STREAMS[api][:1])
            stream.sendall(b"0\r\n\r\n")
        case "failed":
            _stream(stream, ['{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'])
            stream.sendall(b"0\r\n\r\n")
        case "silent":
            stream.recv(1)
        case _:
            _stream(stream, STREAMS[api][:1])
            GO_ON.wait(20)
            _stream(stream, STREAMS[api][1:], head=False)
            stream.sendall(b"0\r\n\r\n")


def _send(stream: socket.socket, status: str, body: str, headers: str = "") -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    stream.sendall((head + body).encode())


def _stream(stream: socket.socket, events: list[str], *, head: bool = True) -> None:
    body = "".join(f"data: {event}\n\n" for event in events).encode()
    stream.sendall((EVENTS if head else b"") + b"%x\r\n%s\r\n" % (len(body), body))


@dataclass
class Sandbox(Doored):
    """With a door to a model."""

    def grant(self, api: ModelApi = ModelApi.RESPONSES, *, key: str = KEY) -> Grant:
        return Grant(
            name="acme",
            value=SecretValue(key),
            placeholder=MARK,
            hosts=("example.com",),
            format="Bearer {}",
            door=self.port,
            upstream="https://example.com:8443/base",
            model=ModelDoor(api=api),
        )

    async def call(self, api: ModelApi, do: str, *, path: str = "", headers: str = "", body: str = "{}") -> str:
        asked = path or CALLS[api]
        return await self.ask(asked, method="POST", headers=f"X-Do: {do}\r\n{headers}", body=body)


@pytest.fixture(scope="module")
def provider(namespace: World, authority: Authority) -> Iterator[Origin]:
    with Origin(namespace.listener("0.0.0.0", 8443), _answer, authority.server_context) as provider:
        yield provider


@pytest.fixture
async def sandbox(egress: EgressProcess, provider: Origin) -> AsyncIterator[Sandbox]:
    provider.clear()
    GO_ON.set()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as proxy,
        socket.create_server(("127.0.0.1", 0), backlog=100) as door,
    ):
        yield Sandbox(egress, proxy, door)
        GO_ON.set()


# Refusals


@pytest.mark.parametrize(
    ("api", "method", "path"),
    [
        (ModelApi.RESPONSES, "POST", "/files"),
        (ModelApi.RESPONSES, "GET", "/responses/r-1"),
        (ModelApi.RESPONSES, "POST", "/responses/r-1/cancel"),
        (ModelApi.RESPONSES, "POST", "/chat/completions"),
        (ModelApi.RESPONSES, "POST", "/responses/../files"),
        (ModelApi.RESPONSES, "POST", "//responses"),
        (ModelApi.CHAT, "DELETE", "/models/m-1"),
        (ModelApi.CHAT, "POST", "/batches"),
        (ModelApi.MESSAGES, "POST", "/v1/messages/batches"),
        (ModelApi.GEMINI, "POST", "/v1beta/models/g-1:batchGenerateContent"),
        (ModelApi.GEMINI, "POST", "/v1beta/cachedContents"),
        (ModelApi.GEMINI, "PUT", "/v1beta/models/g-1:generateContent"),
    ],
)
async def test_a_door_is_for_calls_alone(
    sandbox: Sandbox, provider: Origin, api: ModelApi, method: str, path: str
) -> None:
    await sandbox.open(sandbox.grant(api))
    answer = await sandbox.ask(path, method=method, body="{}")
    assert answer.startswith("HTTP/1.1 403 ")
    assert provider.received == []
    assert len(sandbox.refusals()) == 1


@pytest.mark.parametrize(
    ("upstream", "plain"),
    [
        ("http://169.254.169.254:8443", True),
        ("https://169.254.169.254:8443", False),
        ("http://198.18.0.1:8443", True),
        ("https://private.example.com:8443", False),
    ],
)
async def test_no_setting_of_a_provider_opens_what_is_never_reached(
    sandbox: Sandbox, world: World, provider: Origin, upstream: str, plain: bool
) -> None:
    world.zone["private.example.com"] = ["10.1.2.3"]
    door = ModelDoor(api=ModelApi.CHAT, plain=plain)
    host = upstream.partition("//")[2].partition(":")[0]
    await sandbox.open(replace(sandbox.grant(), upstream=upstream, hosts=(host,), model=door))
    assert (await sandbox.call(ModelApi.CHAT, "whole")).startswith("HTTP/1.1 403 ")
    assert provider.received == []


@pytest.mark.parametrize(
    ("api", "status"), [(ModelApi.CHAT, "401"), (ModelApi.MESSAGES, "403"), (ModelApi.GEMINI, "400")]
)
async def test_a_key_that_was_refused_is_not_tried_again(
    sandbox: Sandbox, provider: Origin, api: ModelApi, status: str
) -> None:
    await sandbox.open(sandbox.grant(api))
    assert f" {status} " in await sandbox.call(api, status)
    (call,) = await sandbox.calls()
    assert (call.provider, call.status, call.key_refused, call.usage) == ("acme", int(status), True, None)
    assert KEY not in call.fault
    again = await sandbox.call(api, "whole")
    assert again.startswith(f"HTTP/1.1 {status} ")
    assert "acme did not take its key" in again
    assert len(provider.received) == 1
    await sandbox.open(sandbox.grant(api))
    assert (await sandbox.call(api, "whole")).startswith(f"HTTP/1.1 {status} ")
    await sandbox.open(sandbox.grant(api, key="another-key"))
    assert (await sandbox.call(api, "whole")).startswith("HTTP/1.1 200 ")


async def test_a_403_after_a_good_answer_is_about_one_call(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant(ModelApi.MESSAGES))
    await sandbox.call(ModelApi.MESSAGES, "whole")
    await sandbox.call(ModelApi.MESSAGES, "403")
    assert [call.key_refused for call in await sandbox.calls(2)] == [False, False]
    assert (await sandbox.call(ModelApi.MESSAGES, "whole")).startswith("HTTP/1.1 200 ")


# What is put in


@pytest.mark.parametrize(
    "given", [f"Authorization: Bearer {MARK}", f"x-api-key: {MARK}", "Authorization: Bearer sk-of-mine", "X-Other: 1"]
)
async def test_whatever_a_program_takes_for_a_key_is_replaced(sandbox: Sandbox, provider: Origin, given: str) -> None:
    azure = ModelDoor(api=ModelApi.CHAT, headers=(("X-Team", "one"),), query=(("api-version", "2025-01-01"),))
    await sandbox.open(replace(sandbox.grant(), header="api-key", format="{}", model=azure))
    answer = await sandbox.call(
        ModelApi.CHAT,
        "whole",
        path=f"/chat/completions?key={MARK}&a=1&api-version=0",
        headers=f"{given}\r\nx-team: two\r\n",
    )
    assert answer.startswith("HTTP/1.1 200 ")
    (received,) = provider.received
    head = received.partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("POST /base/chat/completions?a=1&api-version=2025-01-01 HTTP/1.1\r\n")
    assert f"\r\napi-key: {KEY}" in head
    assert [line for line in head.lower().split("\r\n") if line.startswith("x-team:")] == ["x-team: one"]
    assert "sk-of-mine" not in head
    assert MARK not in head
    assert "authorization" not in head.lower()


async def test_a_server_of_the_operators_own_is_reached_without_tls(sandbox: Sandbox, namespace: World) -> None:
    with Origin(namespace.listener("127.0.0.1", 8081), _answer) as local:
        door = ModelDoor(api=ModelApi.CHAT, plain=True)
        grant = replace(sandbox.grant(), upstream="http://127.0.0.1:8081/v1", hosts=("127.0.0.1",), model=door)
        await sandbox.open(grant)
        assert (await sandbox.call(ModelApi.CHAT, "whole")).startswith("HTTP/1.1 200 ")
        assert f"Authorization: Bearer {KEY}".encode() in local.received[0]
    assert (await sandbox.calls())[0].usage == USED


# What is counted, and told


@pytest.mark.parametrize("api", ModelApi)
@pytest.mark.parametrize("do", ["whole", "stream"])
async def test_the_providers_own_numbers_are_told(sandbox: Sandbox, api: ModelApi, do: str) -> None:
    await sandbox.open(sandbox.grant(api))
    assert (await sandbox.call(api, do)).startswith("HTTP/1.1 200 ")
    (call,) = await sandbox.calls()
    written = 10 if api is ModelApi.MESSAGES else 0
    assert call.usage == replace(USED, cache_written_tokens=written)
    assert (call.model, call.estimated, call.fault, call.status) == ("m-1", False, "", 200)


async def test_an_event_reaches_the_client_before_the_next_is_sent(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant())
    GO_ON.clear()
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        head = f"POST /responses HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\nContent-Length: 2\r\n\r\n{{}}"
        await stream.send(head.encode())
        assert b"response.completed" not in await until(stream, b"response.created")
        GO_ON.set()
        await until(stream, b"response.completed")


@pytest.mark.parametrize("api", [ModelApi.RESPONSES, ModelApi.CHAT, ModelApi.MESSAGES])
async def test_a_stream_that_is_cut_is_cut_for_the_client_and_counted(sandbox: Sandbox, api: ModelApi) -> None:
    await sandbox.open(sandbox.grant(api))
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        body = "x" * 400
        head = (
            f"POST {CALLS[api]} HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\nX-Do: cut\r\nContent-Length: 400\r\n\r\n"
        )
        await stream.send((head + body).encode())
        await until(stream, b"data: ")
        with pytest.raises(ConnectionResetError):
            await read_to_end(stream)
    (call,) = await sandbox.calls()
    assert (call.status, call.fault, call.estimated) == (200, "the answer was cut in the middle", True)
    assert call.usage is not None
    assert call.usage.input_tokens == 100
    assert call.usage.output_tokens >= 1


async def test_a_stream_without_its_last_event_is_told_as_cut(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant())
    await sandbox.call(ModelApi.RESPONSES, "short")
    assert (await sandbox.calls())[0].fault == "the answer was cut in the middle"


async def test_a_failure_inside_a_stream_is_told(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant(ModelApi.MESSAGES))
    await sandbox.call(ModelApi.MESSAGES, "failed")
    assert (await sandbox.calls())[0].fault == "Overloaded"


async def test_a_provider_that_asks_to_wait_is_heard_by_the_client_and_told(sandbox: Sandbox) -> None:
    await sandbox.open(sandbox.grant())
    answer = await sandbox.call(ModelApi.RESPONSES, "429")
    assert "Retry-After: 17\r\n" in answer
    await sandbox.call(ModelApi.RESPONSES, "503")
    limited, overloaded = await sandbox.calls(2)
    assert (limited.status, limited.retry_after, limited.fault, limited.usage) == (429, "17", "too many", None)
    assert (overloaded.status, overloaded.fault, overloaded.key_refused) == (503, "Overloaded", False)


async def test_a_client_that_leaves_early_has_used_what_it_asked_for(sandbox: Sandbox) -> None:
    """Or else a program could have answers without being counted, by leaving before the numbers come."""
    await sandbox.open(sandbox.grant())
    GO_ON.clear()
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        head = f"POST /responses HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\nContent-Length: 800\r\n\r\n"
        await stream.send((head + "x" * 800).encode())
        await until(stream, b"response.created")
    GO_ON.set()
    (call,) = await sandbox.calls()
    assert call.usage is not None
    assert call.usage.input_tokens in (100, 200)
    assert call.usage.output_tokens >= 1
    assert call.fault == ""


async def test_a_call_that_is_cut_before_its_answer_is_counted_as_sent(sandbox: Sandbox, provider: Origin) -> None:
    """As when an agent is stopped: the provider has got it, and will be paid for it."""
    await sandbox.open(sandbox.grant())
    async with await anyio.connect_tcp("127.0.0.1", sandbox.port) as stream:
        head = (
            f"POST /responses HTTP/1.1\r\nHost: localhost:{sandbox.port}\r\nX-Do: silent\r\nContent-Length: 400\r\n\r\n"
        )
        await stream.send((head + "x" * 400).encode())
        with anyio.fail_after(10):
            while not provider.received:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        await anyio.sleep(0.05)
        await sandbox.egress.close(FIRST)
    (call,) = await sandbox.calls()
    assert (call.status, call.estimated, call.usage) == (0, True, TokenUsage(input_tokens=100))
