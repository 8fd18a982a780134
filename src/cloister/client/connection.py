"""How the client talks to the API: requests and streams, and errors as the service itself would raise them."""

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import httpx
from httpx_sse import aconnect_sse
from pydantic import TypeAdapter

from cloister.api.problem import MEDIA_TYPE, problem_to_error
from cloister.api.task_shape import TaskShape, shape_to_status
from cloister.api.wire import FAILED, IDEMPOTENCY_KEY, PREFIX, PROGRESS
from cloister.errors import CloisterError, UnreachableError
from cloister.model.image import BuildProgress
from cloister.model.task import TaskStatus

T = TypeVar("T")
Report = Callable[[BuildProgress], None]
"""Told how far something is that takes minutes."""
Note = Callable[[str], None]
"""Told a sentence that somebody should know."""

ANSWER_SECONDS = 300.0
"""A repository may have to be fetched first."""
_SILENCE_SECONDS = 60.0
"""Of an event stream, whose server says every 15 that it is there."""


def say_nothing(_: str) -> None:
    """Let a note go."""


@dataclass(frozen=True, slots=True)
class Connection:
    """One server, or an application in this process."""

    _http: httpx.AsyncClient
    _is_far: bool = False
    """Whether the server is not this machine's own: then a repository at a path of ours is sent to it."""
    _is_near: bool = False
    """Whether the application is in this process, where nothing gets lost on the way."""
    _note: Note = say_nothing
    """Told what of a repository of ours was not sent."""

    async def _call(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        key: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Any:
        # ASCII: lone surrogates go through, so that the server says what is wrong with them
        content = None if fields is None else json.dumps(fields)
        sent = dict(headers) if fields is None else {"Content-Type": "application/json", **headers}
        sent |= {} if key is None else {IDEMPOTENCY_KEY: key}
        response = await self._send(method, path, content=content, headers=sent, params=query)
        return response.json() if response.content else None

    async def _carry_out(self, path: str, fields: dict[str, Any] | None, report: Report) -> Any:
        """Ask for what takes minutes, report how far it is, and return its result."""
        try:
            async for name, told in self._stream(path, {}, fields=fields, method="POST"):
                if name == FAILED:
                    raise problem_to_error(told)
                if name != PROGRESS:
                    return told
                report(BuildProgress(**told))
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        raise UnreachableError(f"{self._http.base_url} ended before it was done")

    async def _get(self, path: str, query: dict[str, Any]) -> bytes:
        return (await self._send("GET", path, params=query)).content

    async def _send(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> httpx.Response:
        headers = headers or {}
        send = partial(self._http.request, method, PREFIX + path, headers=headers, **options)
        try:
            response = await self._sent(send, repeatable=method == "GET" or IDEMPOTENCY_KEY in headers)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        _check(response)
        return response

    async def _sent(self, send: Callable[[], Awaitable[httpx.Response]], *, repeatable: bool) -> httpx.Response:
        if self._is_near:
            return await send()
        from cloister.resending import send_again  # loads what only clients of servers need

        return await send_again(send, repeatable=repeatable)

    def _unreachable(self, error: httpx.TransportError) -> UnreachableError:
        return UnreachableError(f"no answer from {self._http.base_url}: {error or type(error).__name__}")

    async def _stream(
        self, path: str, query: dict[str, Any], *, method: str = "GET", fields: dict[str, Any] | None = None
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        timeout = httpx.Timeout(ANSWER_SECONDS, read=_SILENCE_SECONDS)
        asked = {"params": query, "timeout": timeout} | ({} if fields is None else {"json": fields})
        async with aconnect_sse(self._http, method, PREFIX + path, **asked) as source:
            if source.response.is_error:
                await source.response.aread()
            _check(source.response)
            async for sent in source.aiter_sse():
                if sent.data:  # else it only says that the server is still there
                    yield sent.event, sent.json()


def new_key() -> str:
    """Return what a request is known by when it has to be sent again."""
    return uuid.uuid4().hex


def numbers_given(**numbers: int | None) -> dict[str, int]:
    """Return a query with those that are not None."""
    return {name: number for name, number in numbers.items() if number is not None}


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    if response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
        raise problem_to_error(response.json())
    raise CloisterError(f"{response.url} answered {response.status_code}, in words that are not Cloister's")


def path_part(name: str) -> str:
    """Return a name as one part of a path."""
    return httpx.URL("http://x").copy_with(path="/" + name).raw_path.decode()[1:].replace("/", "%2F") or "-"


def read_as(kind: type[T], fields: Any) -> T:
    """Return the data that an answer's fields stand for."""
    return TypeAdapter(kind).validate_python(fields)


def read_status(fields: Any) -> TaskStatus:
    """Return where a task is, from an answer's fields."""
    return shape_to_status(TaskShape.model_validate(fields))
