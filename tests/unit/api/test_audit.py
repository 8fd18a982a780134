"""The audit: whatever route there is, and whatever becomes of a request."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import text
from starlette.requests import HTTPConnection

from cloister.access import Access
from cloister.api.app import make_app
from cloister.api.caller import Caller
from cloister.api.in_process import InProcessTransport
from cloister.api.login import add_login
from cloister.api.own_page import SAFE_METHODS
from cloister.api.routes import Part
from cloister.api.wire import PREFIX
from cloister.audit import MOST_OF_STRANGERS, Audit
from cloister.codex_api.routes import add_codex
from cloister.errors import DiskFullError, UnauthenticatedError
from cloister.model.audit import AuditEntry, AuditFilter
from cloister.model.token import Role
from cloister.protocols import AuditStore
from cloister.sessions import Sessions
from cloister.stores.audit import SqlAuditStore
from cloister.stores.database import Database
from cloister.stores.fake import FakeAuditStore
from cloister.stores.sessions import SqlSessionStore
from cloister.stores.tokens import SqlTokenStore
from cloister.stores.users import SqlUserStore
from cloister.tokens import Tokens
from cloister.users import Users

from .nobody import access_of_nobody

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def _by_header(request: HTTPConnection) -> Caller:
    if "x-role" not in request.headers:
        raise UnauthenticatedError("a token is needed")
    return Caller(name="ann", role=Role(request.headers["x-role"]), by="token 1")


def _app(access: Access) -> FastAPI:
    return make_app(None, access, _by_header, (add_login, add_codex))  # type: ignore[arg-type]  # nobody is at home


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url="http://here", transport=InProcessTransport(app)) as client:
        yield client


def _changing(routes: Sequence[Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in routes:
        if isinstance(route, APIRoute):
            yield from ((method, prefix + route.path) for method in route.methods - SAFE_METHODS)
        elif isinstance(route, Part):
            yield from _changing(route.router.routes, PREFIX)
        elif hasattr(route, "original_router"):
            yield from _changing(route.original_router.routes, prefix + route.include_context.prefix)


NOBODY, KEPT = access_of_nobody()
APP = _app(NOBODY)
ROUTES = sorted(_changing(APP.routes))


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda part: str(part))
@pytest.mark.parametrize("role", [None, *Role])
async def test_no_route_changes_anything_without_the_audit(method: str, path: str, role: Role | None) -> None:
    KEPT.kept.clear()
    async with _client(APP) as client:
        with suppress(AttributeError):  # of the front door that is not there
            await client.request(method, path, headers={} if role is None else {"X-Role": role})
    (entry,) = KEPT.kept
    open_to_all = path == "/login"
    assert (entry.who, entry.method, entry.path) == ("ann" if role and not open_to_all else "", method, path)
    assert role or entry.is_refused


def test_the_test_above_knows_routes() -> None:
    assert {("POST", "/api/v1/tasks"), ("POST", "/wham/tasks"), ("POST", "/login"), ("POST", "/logout")} <= set(ROUTES)


@asynccontextmanager
async def _real(database: Database, store: AuditStore | None = None) -> AsyncIterator[httpx.AsyncClient]:
    tokens = Tokens(store=SqlTokenStore(database), now=lambda: NOON)
    week, sessions = timedelta(days=7), SqlSessionStore(database)
    users = Users(store=SqlUserStore(database), rules={}, now=lambda: NOON)
    access = Access(
        tokens=tokens,
        sessions=Sessions(store=sessions, tokens=tokens, users=users, lifetime=week, idle=week, now=lambda: NOON),
        users=users,
        audit=Audit(store=store or SqlAuditStore(database), now=lambda: NOON),
    )
    async with _client(_app(access)) as client:
        client.headers["X-Role"] = "admin"
        yield client


async def _listed(client: httpx.AsyncClient, **query: str | int) -> Sequence[AuditEntry]:
    answer = await client.get("/api/v1/audit", params=query)
    assert answer.status_code == 200, answer.text
    return [AuditEntry(**{**item, "at": datetime.fromisoformat(item["at"])}) for item in answer.json()["items"]]


async def test_an_entry_names_what_was_done_and_holds_no_value(database: Database) -> None:
    async with _real(database) as client:
        made = await client.post("/api/v1/tokens", json={"name": "ci", "role": "viewer", "lifetime_seconds": 86400})
        token = made.json()["token"]
        with suppress(AttributeError):
            await client.put("/api/v1/secrets", json={"environment": "web", "name": "KEY", "value": "hunter2"})
        with suppress(AttributeError):
            await client.post(
                "/api/v1/tasks", json={"repository": "https://u:hunter2@h.example/r", "prompt": "hunter2"}
            )
        await client.delete("/api/v1/tokens/none?name=a%0ab&page_key=hunter2")
        login = {"token": token, "next": "/"}
        await client.post("/login", data=login, headers={"Origin": "http://here", "Sec-Fetch-Site": "same-origin"})
        await client.post("/login", data={"token": "clo_hunter2"}, headers={"Origin": "http://here"})
        for content in (b"\xff", b"[" * 100_000, b'["x"]', b'"x"', b'{"' + b"n" * 900 + b'\\n": 1}'):
            await client.post("/api/v1/tokens", content=content, headers={"Content-Type": "application/json"})
        padded = b'{"name": "ci", "role": 1' + b" " * 2**20 + b"}"  # as somebody would who does not want to be named
        await client.post("/api/v1/tokens", content=padded, headers={"Content-Type": "application/json"})
        found = await _listed(client)
    told = [(entry.action, dict(entry.about), tuple(entry.fields), entry.status) for entry in reversed(found)]
    id = made.json()["about"]["id"]
    assert told[:6] == [
        ("tokens_create", {"name": "ci", "role": "viewer", "made": id}, ("name", "role", "lifetime_seconds"), 201),
        ("secrets_put", {"environment": "web", "name": "KEY"}, ("environment", "name", "value"), 0),
        ("tasks_create", {"repository": "https://...@h.example/r"}, ("repository", "prompt"), 0),
        ("tokens_revoke", {"name": "a?b"}, (), 404),
        ("log_in", {}, ("token", "next"), 303),
        ("log_in", {}, ("token",), 401),
    ]
    assert (found[-5].who, found[-5].role) == ("ci", "viewer"), "whose token began a session"
    assert [status for *_, status in told[6:]] == [400, 400, 422, 422, 422, 422]
    assert told[-1][1:3] == ({"name": "ci", "role": "1"}, ("name", "role"))
    assert all(len(name) <= 60 for *_, fields, _ in told for name in fields)
    assert "hunter2" not in str(found) and token not in str(found)


async def test_refusals_are_in_it_and_reading_is_not(database: Database) -> None:
    async with _real(database) as client:
        assert (await client.get("/api/v1/tokens")).status_code == 200
        assert await _listed(client) == []
        for role in ("viewer", "member"):
            assert (await client.get("/api/v1/audit", headers={"X-Role": role})).status_code == 403
        del client.headers["X-Role"]
        assert (await client.get("/api/v1/tasks")).status_code == 401
        client.headers["X-Role"] = "admin"
        await client.post("/api/v1/tokens", json={"name": "ci"})
        refused = await _listed(client, refused=1)
        assert [(entry.who, entry.path, entry.status) for entry in refused] == [
            ("", "/api/v1/tasks", 401),
            ("ann", "/api/v1/audit", 403),
            ("ann", "/api/v1/audit", 403),
        ]


async def test_strangers_do_not_fill_it(database: Database) -> None:
    async with _real(database) as client:
        del client.headers["X-Role"]
        for _ in range(MOST_OF_STRANGERS + 10):
            assert (await client.get("/api/v1/tasks")).status_code == 401
        client.headers["X-Role"] = "viewer"
        assert (await client.post("/api/v1/tokens", json={"name": "ci"})).status_code == 403
        client.headers["X-Role"] = "admin"
        found = await _listed(client, limit=1000)
        assert (len(found), found[0].who) == (MOST_OF_STRANGERS + 1, "ann"), "who is known is in it all the same"


class _FullStore(FakeAuditStore):
    async def add(self, entry: AuditEntry) -> None:
        raise DiskFullError("the disk is full")


async def test_nobody_is_told_of_a_change_that_the_audit_knows_nothing_of(database: Database) -> None:
    async with _real(database, _FullStore()) as client:
        answer = await client.post("/api/v1/tokens", json={"name": "ci"})
        assert (answer.status_code, "token" in answer.json()) == (500, False)
        assert "audit" in answer.json()["detail"]
        assert (await client.get("/api/v1/tokens")).status_code == 200


@pytest.mark.parametrize("real", [True, False], ids=["database", "memory"])
async def test_pages_and_filters(database: Database, real: bool) -> None:
    store: AuditStore = SqlAuditStore(database) if real else FakeAuditStore()
    async with _real(database, store) as client:
        for number in range(5):
            entry = AuditEntry(
                at=NOON + timedelta(minutes=number),
                who="ann" if number % 2 else "bob",
                by="owner",
                role="admin",
                address="",
                method="PUT",
                path=f"/{number}",
                action="tasks_create" if number < 4 else "t%",
                status=403 if number == 1 else 200,
            )
            await store.add(entry)
        first = await client.get("/api/v1/audit", params={"limit": 3})
        assert [item["path"] for item in first.json()["items"]] == ["/4", "/3", "/2"]
        await store.add(entry)
        rest = await client.get("/api/v1/audit", params={"limit": 3, "cursor": first.json()["cursor"]})
        assert ([item["path"] for item in rest.json()["items"]], rest.json()["cursor"]) == (["/1", "/0"], None)
        wanted = {
            "since": (NOON + timedelta(minutes=1)).isoformat(),
            "until": (NOON + timedelta(minutes=3)).isoformat(),
        }
        assert [entry.path for entry in await _listed(client, **wanted)] == ["/2", "/1"]
        assert [entry.path for entry in await _listed(client, who="ann")] == ["/3", "/1"]
        assert [entry.path for entry in await _listed(client, action="t%")] == ["/4", "/4"]
        assert [entry.path for entry in await _listed(client, refused=1)] == ["/1"]
        for query in ({"cursor": "x"}, {"limit": 0}, {"since": "2026-01-01T00:00:00"}, {"cursor": 2**80}):
            assert (await client.get("/api/v1/audit", params=query)).status_code == 422, query


async def test_the_database_refuses_to_forget(database: Database) -> None:
    store = SqlAuditStore(database)
    await store.add(
        AuditEntry(at=NOON, who="a", by="", role="", address="", method="PUT", path="/", action="", status=200)
    )
    for change in ("DELETE FROM audit", "UPDATE audit SET who = 'b'"):
        with pytest.raises(Exception, match="only ever added to"):
            await database.execute(text(change))
    assert [entry.who for entry in await store.list(AuditFilter(), limit=10)] == ["a"]


async def test_of_what_was_not_done_it_is_said_why_also_when_the_audit_cannot_be_written(database: Database) -> None:
    async with _real(database, _FullStore()) as client:
        wrong = await client.post("/api/v1/tokens", json={"name": 5})
        assert wrong.status_code == 422 and "body.name" in wrong.json()["detail"], wrong.text
