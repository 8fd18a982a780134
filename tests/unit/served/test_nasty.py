"""Requests that nobody sends by intent: every route answers each with a problem document, and none with a bug."""

import json
from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute

from cloister.api.routes import all_routers
from cloister.api.wire import PREFIX
from cloister.model.token import Role

from .conftest import Server

pytestmark = pytest.mark.anyio

ROUTES = [route for router in all_routers() for route in router.routes if isinstance(route, APIRoute)]
TEXTS = ["%00", "%ff%fe", "%ed%b3%bf", "..%2f..%2fetc%2fpasswd", "a" * 5000, "1" * 40, "%0a"]
BODIES: list[bytes] = [
    b"{",
    b"[]",
    b"\xff\xfe",
    b'{"a": "\\ud800"}',
    b"[" * 100_000,
    b"1" * 5000,
]
VALUES = ["\x00", "\udcff", 2**70, {"a": "\udcff"}]


def _fields(route: APIRoute) -> list[str]:
    if route.body_field is None:
        return []
    return sorted(route.body_field.field_info.annotation.model_fields)  # type: ignore[union-attr]


def _valid(name: str) -> object:
    return {"attempts": 1, "base": 1, "value": "a-value-1", "lifetime_seconds": 60, "role": "viewer"}.get(name, "a")


def _queries(route: APIRoute) -> list[str]:
    return [field.alias for field in route.dependant.query_params]


def _requests(route: APIRoute) -> Iterator[tuple[str, dict[str, str], bytes | None]]:
    """Every path, then every query, then every body, one wrong thing at a time."""
    plain = PREFIX + route.path.format_map(dict.fromkeys(route.param_convertors, "x"))
    body = json.dumps({name: _valid(name) for name in _fields(route)}).encode() if _fields(route) else None
    for text in TEXTS if route.param_convertors else []:
        yield PREFIX + route.path.format_map(dict.fromkeys(route.param_convertors, text)), {}, body
    for name in _queries(route):
        for value in ("-1", "1" * 40, "\x00", "\udcff", "nan"):
            yield plain, {name: value}, body
    for raw in BODIES if body is not None else []:
        yield plain, {}, raw
    for name in _fields(route):
        for value in VALUES:
            yield plain, {}, json.dumps({one: value if one == name else _valid(one) for one in _fields(route)}).encode()


async def test_what_is_nonsense_is_said_to_be(server_without_worker: Server) -> None:
    headers = {"Authorization": f"Bearer {await server_without_worker.token(Role.ADMIN)}"}
    async with httpx.AsyncClient(base_url=server_without_worker.address, headers=headers, timeout=60) as http:
        for route, (path, query, body) in ((one, asked) for one in ROUTES for asked in _requests(one)):
            text = "&".join(f"{name}={_quoted(value)}" for name, value in query.items())
            kind = {"Content-Type": "application/json"} if body is not None else {}
            answer = await http.request(min(route.methods), f"{path}?{text}", content=body, headers=kind)
            shown = (answer.status_code, path[:80], str(query)[:80], (body or b"")[:200], answer.text[:300])
            assert answer.status_code < 500, shown
            if answer.status_code >= 400:
                assert answer.headers["Content-Type"] == "application/problem+json", shown


def _quoted(value: str) -> str:
    return "".join(f"%{byte:02x}" for byte in value.encode(errors="surrogateescape"))
