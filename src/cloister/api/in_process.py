"""Talks to an application in the same process, streams included: a transport of httpx without a network."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream
from starlette.types import ASGIApp, Message

_PARTS_AHEAD = 64
"""Of a response that is read more slowly than it is made."""


class InProcessTransport(httpx.AsyncBaseTransport):
    """Carries requests to an ASGI application. httpx has such a transport, which holds a response back until its end.

    https://github.com/encode/httpx/issues/2186
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._group: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)  # an error of the caller's stays what it is, and in no group

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Let the application begin its response; the rest is read from it as it comes."""
        assert self._group is not None, "the client has to be entered first"
        call = _Call(_scope_of(request), await request.aread())
        self._group.start_soon(call.run, self._app)
        await call.started.wait()
        if call.error is not None:
            raise call.error
        return httpx.Response(call.status, headers=call.headers, stream=_Body(call))


class _Call:
    """One request on its way through the application."""

    def __init__(self, scope: dict[str, Any], body: bytes) -> None:
        self.started = anyio.Event()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.error: Exception | None = None
        self.abandoned = anyio.CancelScope()
        self._scope = scope
        self._body: bytes | None = body
        self._sending, self.parts = anyio.create_memory_object_stream[bytes](_PARTS_AHEAD)

    async def run(self, app: ASGIApp) -> None:
        with self.abandoned, self._sending:
            try:
                await app(self._scope, self._receive, self._send)
            except Exception as error:  # it is raised where the response is waited for
                self.error = error
            finally:
                self.started.set()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await anyio.sleep_forever()  # it hears of our going away by being cancelled
        raise AssertionError

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], message.get("headers", [])
            self.started.set()
        elif part := message.get("body", b""):
            await self._sending.send(part)


class _Body(httpx.AsyncByteStream):
    def __init__(self, call: _Call) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts: MemoryObjectReceiveStream[bytes] = self._call.parts
        async for part in parts:
            yield part
        if self._call.error is not None:
            raise self._call.error

    async def aclose(self) -> None:
        self._call.abandoned.cancel()
        self._call.parts.close()


def _scope_of(request: httpx.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.split(b"?")[0],
        "query_string": request.url.query,
        "server": None,
        "client": None,
        "root_path": "",
    }
