"""Writes down what was asked for at the gate: every change, and whatever was refused to somebody.

It sees requests and not routes, so that a new route is in the audit without a word of its own. What is written down is
names: of the path, of what was sent, and the values of the few fields that say what a change is about.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import structlog
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Send
from structlog.contextvars import get_contextvars

from cloister.api.body_limit import MOST_BODY_BYTES
from cloister.api.caller import Caller
from cloister.api.operation import operation_id
from cloister.api.own_page import KEY_FIELD, SAFE_METHODS
from cloister.api.problem_answers import problem_response
from cloister.audit import Audit
from cloister.errors import CloisterError, StoreError
from cloister.github_settings import GITHUB_WEBHOOK
from cloister.model.audit import AuditEntry

_ABOUT = ("environment", "name", "role", "provider", "repository", "attempt", "version")
"""Fields whose values are written down: they name things."""
_MOST_FIELDS = 40
_LONGEST = 200
_READ_AT_ONCE = 1024 * 1024
"""Of a body; a larger one is read beside the loop."""
_EMPTY: tuple[object, ...] = (None, "", [], {})
"""What clients send for what nobody said."""
ADDRESS = "address"
"""Variable of the context: from where the request came that makes this one, in the same process."""
_ELSEWHERE = frozenset({"/mcp", GITHUB_WEBHOOK})
"""What comes of them is written down as such, request by request."""
_FORM = "application/x-www-form-urlencoded"
_REFUSALS = frozenset({401, 403, 429})
_LOG = structlog.get_logger(__name__)


class Trail:
    """What becomes of one request."""

    def __init__(self, audit: Audit, connection: HTTPConnection, receive: Receive, send: Send) -> None:
        self._audit = audit
        self._connection = connection
        self._receive = receive
        self._send = send
        self._body: list[bytes] = []
        self._read = 0
        self._start: Message | None = None
        self._is_written = self._is_lost = False

    async def receive(self) -> Message:
        """Read on, and remember the body."""
        message = await self._receive()
        if self._has_names and self._is_change and message.get("body") and self._read <= MOST_BODY_BYTES:
            self._read += len(message["body"])
            self._body.append(message["body"])
        return message

    async def send(self, message: Message) -> None:
        """Answer, once it is written down: nobody is told of a change that the audit knows nothing of."""
        if message["type"] == "http.response.start" and self._is_told_of(message["status"]):
            self._start = message
        elif self._start is not None:
            start, self._start = self._start, None
            await self._answer(start, message)
        elif not self._is_lost:
            await self._send(message)

    async def end(self) -> None:
        """Write down a request that was cut off before it was answered."""
        if not self._is_written and self._is_told_of(0):
            with anyio.CancelScope(shield=True), suppress(CloisterError):
                await self._audit.add(await self._entry(0, b""))

    @property
    def _has_names(self) -> bool:
        """Whether the body is of a kind in which things have names; others, such as bundles, nobody holds."""
        if self._connection.scope["path"] == GITHUB_WEBHOOK:  # of these, nothing is read before it is known who calls
            return False
        kind = self._connection.headers.get("content-type", "").lower()
        return "json" in kind or kind.startswith(_FORM)

    @property
    def _is_change(self) -> bool:
        scope = self._connection.scope
        is_change: bool = scope.get("state", {}).get("is_change", scope["method"] not in SAFE_METHODS)
        return is_change

    async def _answer(self, start: Message, message: Message) -> None:
        try:
            await self._write(start["status"], message.get("body", b""))
        except CloisterError as error:
            _LOG.exception("the audit cannot be written")
            if start["status"] >= HTTPStatus.BAD_REQUEST:  # nothing was done: why not is what has to be known
                await self._send(start)
                await self._send(message)
                return
            self._is_lost = True
            lost = StoreError("it was done, but the audit could not be written", hint=error.message)
            await problem_response(lost)(self._connection.scope, self._receive, self._send)
            return
        await self._send(start)
        await self._send(message)

    async def _write(self, status: int, answer: bytes) -> None:
        self._is_written = True
        await self._audit.add(await self._entry(status, answer))

    def _is_told_of(self, status: int) -> bool:
        is_told_elsewhere = self._connection.scope["path"] in _ELSEWHERE
        return status in _REFUSALS or (self._is_change and not is_told_elsewhere)

    async def _entry(self, status: int, answer: bytes) -> AuditEntry:
        scope = self._connection.scope
        caller: Caller | None = scope.get("state", {}).get("caller")
        sent, client = await self._sent(), self._connection.client
        return AuditEntry(
            at=self._audit.now(),
            who=caller.name if caller else "",
            by=caller.by if caller else "",
            role=caller.role if caller else "",
            address=client.host if client else str(get_contextvars().get(ADDRESS, "")),
            method=scope["method"],
            path=_told(scope["path"]),
            action=_action(scope.get("route")),
            about={**_about(dict(self._connection.query_params)), **_about(sent), **_made(status, answer)},
            fields=_names(sent),
            status=scope.get("state", {}).get("outcome", status),
        )

    async def _sent(self) -> Mapping[str, Any]:
        """Return what the body says by name; of one that nobody holds, what its reader found."""
        read: Mapping[str, Any] | None = self._connection.scope.get("state", {}).get("sent")
        if read is not None and not self._has_names:
            return read
        body, kind = b"".join(self._body), self._connection.headers.get("content-type", "")
        if len(body) <= _READ_AT_ONCE:
            return _read(body, kind)
        return await anyio.to_thread.run_sync(_read, body, kind)


def _read(body: bytes, kind: str) -> Mapping[str, Any]:
    if kind.lower().startswith(_FORM):
        with suppress(ValueError):
            return dict(parse_qsl(body.decode("latin-1"), max_num_fields=1000))
    return _object(body)


def _action(route: object) -> str:
    return operation_id(route) if isinstance(route, APIRoute) else ""


def _object(text: bytes) -> Mapping[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        return found if isinstance(found, dict) else {}
    return {}


def _names(sent: Mapping[str, Any]) -> tuple[str, ...]:
    names = [_told(name)[:60] for name, value in sent.items() if name != KEY_FIELD and value not in _EMPTY]
    return tuple(names[:_MOST_FIELDS])


def _about(sent: Mapping[str, Any]) -> dict[str, str]:
    found = {name: sent[name] for name in _ABOUT if name in sent}
    return {name: _told(str(value)) for name, value in found.items() if isinstance(value, str | int)}


def _made(status: int, answer: bytes) -> dict[str, str]:
    """Return the id of what was made: of a task, a token (whose text is beside it, and is not told), ..."""
    if status != HTTPStatus.CREATED or len(answer) > _READ_AT_ONCE:
        return {}
    shape = _object(answer)
    places = (shape, shape.get("about"), shape.get("task"))
    ids = [place["id"] for place in places if isinstance(place, dict) and isinstance(place.get("id"), str)]
    return {"made": _told(ids[0])} if ids else {}


def _told(text: str) -> str:
    """Return it on one line, of bounded length, and without what an address may hold of a password."""
    text = re.sub(r"//[^/]*@", "//...@", text)
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:_LONGEST]
