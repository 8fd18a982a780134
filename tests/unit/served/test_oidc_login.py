"""Logging in by a provider: a browser on its whole way, at real servers on both sides."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from cloister.model.audit import AuditFilter
from cloister.model.token import Role

from ..identity.provider import CLIENT_ID, CLIENT_SECRET, Provider, running
from .conftest import Machine, Server

pytestmark = pytest.mark.anyio

HTML = {"Accept": "text/html"}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running() as provider:
        yield provider


def _settings(issuer: str) -> dict[str, Any]:
    known = {"issuer": issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return {"oidc": {**known, "admins": ["ops"], "members": ["developers"]}}


@asynccontextmanager
async def browser(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.address, headers=HTML) as http:
        yield http


async def _begin(http: httpx.AsyncClient, wanted: str = "/") -> str:
    """Go to the provider, and return where that sends the browser back to."""
    sent = await http.get("/login/oidc", params={"next": wanted})
    assert sent.status_code == 303, sent.text
    async with httpx.AsyncClient() as there:
        return str((await there.get(sent.headers["Location"])).headers["Location"])


async def test_somebody_logs_in_by_a_provider(machine: Machine, provider: Provider) -> None:
    async with machine.server(works=False, **_settings(provider.issuer)) as server, browser(server) as http:
        shown = await http.get("/login", params={"next": "/tasks?a=b"})
        assert 'href="/login/oidc?next=/tasks%3Fa%3Db"' in shown.text
        back = await _begin(http, "/tasks?a=b")
        assert http.cookies["cloister-login"]
        done = await http.get(back)
        assert (done.status_code, done.headers["Location"]) == (303, "/tasks?a=b")
        assert "cloister-login" not in http.cookies
        myself = (await http.get("/api/v1/sessions/current")).json()
        assert (myself["name"], myself["role"]) == ("ann", "member")
        assert (await http.get("/api/v1/users")).status_code == 403
        former = http.cookies["cloister"]
        provider.claims = {"groups": ["ops"]}
        await http.get(await _begin(http))
        (user,) = (await http.get("/api/v1/users")).json()
        assert (user["name"], user["role"]) == ("ann", "admin")
        assert len(await server.application.access.sessions.list()) == 1, "the former one is over"
        assert former != http.cookies["cloister"]
        again = await http.get(back)  # somebody found it in a history
        assert again.headers["Location"].startswith("/login?problem=provider")
        async with server.as_owner() as owner:
            entries = await owner.audit(AuditFilter(action="log_in_by_oidc"))
            assert [(entry.who, entry.status) for entry in entries] == [("", 401), ("ann", 303), ("ann", 303)]
            assert "code" not in str(entries) and "state" not in str(entries)
            assert (await owner.users())[0].id == user["id"]
            await owner.set_user_disabled(user["id"], disabled=True)
        assert (await http.get("/api/v1/tasks", headers={"Accept": "*/*"})).status_code == 401
        disabled = await http.get(await _begin(http))
        assert disabled.headers["Location"] == "/login?problem=role&next=%2F"


async def test_who_has_no_role_or_was_not_let_in_there_has_no_session(machine: Machine, provider: Provider) -> None:
    async with machine.server(works=False, **_settings(provider.issuer)) as server, browser(server) as http:
        provider.claims = {"groups": ["guests"]}
        assert (await http.get(await _begin(http))).headers["Location"].startswith("/login?problem=role")
        provider.claims = {"iss": "https://evil.example"}
        assert (await http.get(await _begin(http))).headers["Location"].startswith("/login?problem=provider")
        back = await _begin(http)
        state = parse_qs(urlsplit(back).query)["state"][0]
        denied = await http.get("/login/oidc/callback", params={"error": "access_denied", "state": state})
        assert denied.headers["Location"].startswith("/login?problem=provider")
        assert "cloister" not in http.cookies
        assert await server.application.access.users.list() == []
        async with server.as_holder(Role.ADMIN) as admin:
            refused = await admin.audit(AuditFilter(refused=True))
            assert [entry.status for entry in refused] == [401, 401, 403]


async def test_an_answer_that_this_browser_did_not_ask_for_lets_nobody_in(machine: Machine, provider: Provider) -> None:
    running_server = machine.server(works=False, **_settings(provider.issuer))
    async with running_server as server, browser(server) as evil, browser(server) as victim:
        back = await _begin(evil)  # of somebody who wants another to be logged in as them
        for answer in (
            await victim.get(back),
            await victim.get("/login/oidc/callback"),
            await victim.get("/login/oidc/callback?code=x&state=x", headers={"Cookie": "cloister-login=x.x"}),
        ):
            assert answer.headers["Location"].startswith("/login?problem=provider")
        theirs = await _begin(victim)
        code = parse_qs(urlsplit(back).query)["code"][0]
        injected = re.sub(r"code=[^&]*", f"code={code}", theirs)
        assert (await victim.get(injected)).headers["Location"].startswith("/login?problem=provider"), "PKCE"
        stateless = re.sub(r"state=[^&]*", "state=" + "x" * 43, await _begin(victim))
        assert (await victim.get(stateless)).headers["Location"].startswith("/login?problem=provider"), "not asked for"
        assert "cloister" not in victim.cookies
        assert (await victim.get(await _begin(victim))).headers["Location"] == "/", "their own lets them in"


@pytest.mark.filterwarnings("ignore")
async def test_it_works_with_a_provider_that_is_not_ours(machine: Machine) -> None:
    from oidc_provider_mock import run_server_in_thread

    with run_server_in_thread() as there:
        issuer = f"http://localhost:{there.server_port}"
        settings = {"oidc": {"issuer": issuer, "client_id": "any", "client_secret": "any", "viewers": ["*"]}}
        async with machine.server(works=False, **settings) as server, browser(server) as http:
            sent = await http.get("/login/oidc")
            async with httpx.AsyncClient() as provider:
                answered = await provider.post(sent.headers["Location"], data={"sub": "bob"})
            done = await http.get(answered.headers["Location"])
            assert done.headers["Location"] == "/", done.text
            myself = (await http.get("/api/v1/sessions/current")).json()
            assert (myself["name"], myself["role"]) == ("bob", "viewer")


async def test_a_server_without_a_provider_says_so(server: Server) -> None:
    async with browser(server) as http:
        assert (await http.get("/login/oidc")).status_code == 404
        assert "/login/oidc" not in (await http.get("/login")).text


async def test_who_logs_out_here_may_log_out_there_too(machine: Machine, provider: Provider) -> None:
    provider.discovery = {"end_session_endpoint": f"{provider.issuer}/end?x=1"}
    async with machine.server(works=False, **_settings(provider.issuer)) as server, browser(server) as http:
        await http.get(await _begin(http))
        key = (await http.get("/api/v1/sessions/current")).json()["page_key"]
        headers = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
        left = await http.post("/logout", data={"page_key": key}, headers=headers)
        assert left.headers["Location"] == "/login?left=true"
        assert "Log out there too" in (await http.get("/login?left=true")).text
        assert "Log out there too" not in (await http.get("/login")).text
        there = urlsplit((await http.get("/logout/oidc")).headers["Location"])
        assert f"{there.scheme}://{there.netloc}{there.path}" == f"{provider.issuer}/end"
        asked = {"x": ["1"], "client_id": [CLIENT_ID], "post_logout_redirect_uri": [f"{server.address}/login"]}
        assert parse_qs(there.query) == asked
        for unsafe in ("http://id.example/end", "javascript:alert(1)", None):
            provider.discovery = {"end_session_endpoint": unsafe}
            assert (await http.get("/logout/oidc")).headers["Location"] == "/login?problem=stays"
        provider.discovery = {"issuer": "https://evil.example"}
        assert (await http.get("/logout/oidc")).headers["Location"].startswith("/login?problem=provider")


async def test_who_came_with_a_token_has_nothing_to_leave(machine: Machine) -> None:
    async with machine.server(works=False) as server, browser(server) as http:
        headers = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
        await http.post("/login", data={"token": await server.token(Role.VIEWER)}, headers=headers)
        key = (await http.get("/api/v1/sessions/current")).json()["page_key"]
        left = await http.post("/logout", data={"page_key": key}, headers=headers)
        assert left.headers["Location"] == "/login"
        assert (await http.get("/logout/oidc")).status_code == 404
