"""Browsers' sessions at a real server: how they begin, what they may do, and what pages of elsewhere cannot."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from cloister.api import event_stream
from cloister.api.failures import MOST_FAILURES
from cloister.api.login import local_path
from cloister.model.token import Role

from .conftest import Server
from .test_pages import read, visitor

pytestmark = pytest.mark.anyio

HTML = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@asynccontextmanager
async def browser(server: Server) -> AsyncIterator[httpx.AsyncClient]:
    """What keeps cookies, and says as browsers do that its requests come from our pages."""
    headers = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
    async with httpx.AsyncClient(base_url=server.address, headers=headers) as http:
        yield http


async def _log_in(http: httpx.AsyncClient, token: str, wanted: str = "/") -> httpx.Response:
    return await http.post("/login", data={"token": token, "next": wanted}, headers=HTML)


async def _page_key(http: httpx.AsyncClient) -> str:
    answer = await http.get("/api/v1/sessions/current")
    assert answer.status_code == 200, answer.text
    return str(answer.json()["page_key"])


async def test_somebody_logs_in_acts_and_logs_out(server: Server) -> None:
    token = await server.token(Role.MEMBER)
    async with browser(server) as http:
        sent_away = await http.get("/tasks?a=b&c=d", headers=HTML)
        assert (sent_away.status_code, sent_away.headers["Location"]) == (303, "/login?next=/tasks%3Fa%3Db%26c%3Dd")
        assert (await http.get("/api/v1/tasks", headers=HTML)).status_code == 401, "programs get no page"
        shown = await http.get("/login", params={"next": '/"><script>'})
        assert shown.status_code == 200 and "<script>" not in shown.text
        begun = await _log_in(http, token, "/tasks?a=b")
        assert (begun.status_code, begun.headers["Location"]) == (303, "/tasks?a=b")
        (cookie,) = begun.headers.get_list("Set-Cookie")
        assert cookie.startswith("cloister=cls_") and {"HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
        myself = (await http.get("/api/v1/sessions/current")).json()
        assert (myself["name"], myself["role"]) == ("MEMBER", "member")
        key = {"X-Cloister-Page-Key": myself["page_key"]}
        assert (await http.post("/api/v1/tasks/none/cancel", headers=key)).status_code == 404, "it got there"
        assert (await http.get("/api/v1/tokens")).status_code == 403, "a session has its token's role"
        text = http.cookies["cloister"]
        out = await http.post("/logout", data={"page_key": myself["page_key"]}, headers=HTML)
        assert (out.status_code, out.headers["Location"]) == (303, "/login")
        assert "cloister" not in http.cookies
        kept = {"Cookie": f"cloister={text}"}
        assert (await http.get("/api/v1/tasks", headers=kept)).status_code == 401, "it is over for who kept it, too"


FOREIGN: Mapping[str, Mapping[str, str | None]] = {
    "a form of elsewhere": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "a page of a sub-domain": {"Sec-Fetch-Site": "same-site"},
    "an old browser's form of elsewhere": {"Origin": "https://evil.example", "Sec-Fetch-Site": None},
    "a sandboxed frame": {"Origin": "null", "Sec-Fetch-Site": None},
    "who does not say": {"Origin": None, "Sec-Fetch-Site": None},
    "another port of this host": {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": None},
    "who says two things": {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
}


async def test_pages_of_elsewhere_change_nothing_and_log_nobody_in(server: Server) -> None:
    token = await server.token(Role.ADMIN)
    before = await server.application.tokens.list()
    for who, headers in FOREIGN.items():
        async with browser(server) as http:
            await _log_in(http, token)
            session = http.cookies["cloister"]
            http.headers["X-Cloister-Page-Key"] = await _page_key(http)
            for name, value in headers.items():
                if value is None:
                    http.headers.pop(name, None)
                else:
                    http.headers[name] = value
            refused = await http.post("/api/v1/tokens", json={"name": "mine"})
            assert (refused.status_code, refused.headers["Content-Type"]) == (403, "application/problem+json"), who
            again = await _log_in(http, token)
            assert again.headers["Location"].startswith("/login?problem=elsewhere"), who
            assert http.cookies["cloister"] == session
    assert [token.id for token in await server.application.tokens.list()] == [token.id for token in before]


async def test_pages_of_elsewhere_load_nothing_and_links_lead_here(server: Server) -> None:
    async with browser(server) as http:
        await _log_in(http, await server.token(Role.VIEWER))
        for site in ("cross-site", "same-site"):
            loaded = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
            assert (await http.get("/api/v1/tasks", headers=loaded)).status_code == 403
            framed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
            assert (await http.get("/tasks", headers=framed)).status_code == 403
            followed = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
            assert (await http.get("/api/v1/tasks", headers=followed)).status_code == 200
        assert (await http.get("/api/v1/tasks", headers={"Sec-Fetch-Site": "none"})).status_code == 200


KEYLESS = [
    ('{"name": "mine"}', "application/json"),
    ('{"name": "mine"}', "text/plain"),
    ('{"name": "mine"}', ""),
    ("name=mine", FORM["Content-Type"]),
    ("page_key=&page_key=0", "application/x-www-form-urlencoded; charset=utf-8"),
    ("page_key=" + "0" * 64, FORM["Content-Type"]),
    ("&" * 100_000, FORM["Content-Type"]),
    ("\xff=", FORM["Content-Type"]),
]


async def test_without_the_key_of_its_pages_a_session_changes_nothing(server: Server) -> None:
    async with browser(server) as http:
        await _log_in(http, await server.token(Role.ADMIN))
        for content, kind in KEYLESS:
            refused = await http.post("/api/v1/tokens", content=content, headers={"Content-Type": kind})
            assert refused.status_code == 403, (content[:40], kind)
        wrong = {"X-Cloister-Page-Key": b"\xe9"}
        assert (await http.delete("/api/v1/tokens/x", headers=wrong)).status_code == 403
        key = {"X-Cloister-Page-Key": await _page_key(http)}
        made = await http.post("/api/v1/tokens", json={"name": "mine"}, headers=key)
        assert made.status_code == 201, "with the key it does"
        async with browser(server) as other:
            await _log_in(other, await server.token(Role.ADMIN))
            assert (await other.post("/api/v1/tokens", json={"name": "x"}, headers=key)).status_code == 403


async def test_a_session_that_somebody_put_there_is_not_taken_over(server: Server) -> None:
    async with browser(server) as http:
        await _log_in(http, await server.token(Role.VIEWER))
        known_to_them = http.cookies["cloister"]
        await _log_in(http, await server.token(Role.ADMIN))
        assert http.cookies["cloister"] != known_to_them
        http.cookies.clear()
        told = {"Cookie": f"cloister={known_to_them}"}
        assert (await http.get("/api/v1/tasks", headers=told)).status_code == 401, "the former one is over"
        chosen = {"Cookie": "cloister=cls_chosen"}
        begun = await http.post("/login", data={"token": await server.token(Role.ADMIN)}, headers={**HTML, **chosen})
        mine = begun.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        for two in (f"cloister=cls_other; cloister={mine}", f"cloister={mine}; cloister=cls_other"):
            answer = await http.get("/api/v1/tasks", headers={"Cookie": two})
            assert answer.status_code == 401, "a cookie of a sub-path came along"
        assert (await http.get("/api/v1/tasks", headers={"Cookie": f"a=b; cloister={mine}"})).status_code == 200


async def test_a_cookie_lets_nobody_in_who_sends_another_token(server: Server) -> None:
    async with browser(server) as http:
        await _log_in(http, await server.token(Role.ADMIN))
        wrong = {"Authorization": "Bearer clo_wrong"}
        assert (await http.get("/api/v1/tasks", headers=wrong)).status_code == 401
        viewer = {"Authorization": f"Bearer {await server.token(Role.VIEWER)}"}
        assert (await http.post("/api/v1/tokens", json={"name": "x"}, headers=viewer)).status_code == 403
        assert (await http.get("/api/v1/tokens")).status_code == 200


async def test_a_revoked_tokens_sessions_are_over_at_once(server: Server) -> None:
    async with browser(server) as http, server.as_owner() as owner:
        await _log_in(http, await server.token(Role.ADMIN))
        assert (await http.get("/api/v1/sessions")).json()[0]["address"] == "127.0.0.1"
        (token,) = await owner.tokens()
        await owner.revoke_token(token.id)
        assert (await http.get("/api/v1/tasks")).status_code == 401


@pytest.mark.parametrize("by_cookie", [True, False], ids=["session", "token"])
async def test_a_stream_ends_with_what_let_its_reader_in(
    server_without_worker: Server, monkeypatch: pytest.MonkeyPatch, by_cookie: bool
) -> None:
    server = server_without_worker
    monkeypatch.setattr(event_stream, "LOOK_AGAIN_SECONDS", 0.01)
    about, text = await server.application.tokens.create("reader", Role.VIEWER)
    async with server.as_owner() as owner, browser(server) as http:
        task = await owner.submit(server.request())  # nobody works: its stream has no end of its own
        if by_cookie:
            await _log_in(http, text)
        else:
            http.headers["Authorization"] = f"Bearer {text}"
        with anyio.fail_after(60):
            async with http.stream("GET", f"/api/v1/tasks/{task.id}/events") as response:
                async for line in response.aiter_lines():
                    if "task_accepted" in line:
                        await owner.revoke_token(about.id)
        assert (await http.get(f"/api/v1/tasks/{task.id}/events")).status_code == 401


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "", "x", "/a\r\nb: c"]
)
def test_a_login_leads_nowhere_else(wanted: str) -> None:
    assert local_path(wanted) == "/"
    assert local_path("/tasks/x?a=b#c") == "/tasks/x?a=b#c"


async def test_wrong_tokens_are_answered_more_and_more_curtly_and_a_right_one_is_let_in(server: Server) -> None:
    async with browser(server) as http:
        for _ in range(int(MOST_FAILURES.partition("/")[0])):
            wrong = await _log_in(http, "clo_wrong", "/tasks")
            assert wrong.headers["Location"] == "/login?problem=wrong&next=%2Ftasks"
        assert "problem=often" in (await _log_in(http, "clo_wrong")).headers["Location"]
        told = await http.post("/login", data={"token": "x"})
        assert (told.status_code, told.headers["Content-Type"]) == (429, "application/problem+json")
        assert (await _log_in(http, await server.token(Role.VIEWER))).headers["Location"] == "/"
        assert (await http.post("/login", content=b"x" * 100_000, headers=FORM)).status_code == 422


async def test_a_form_of_a_session_that_is_over_is_answered_by_a_page(server_without_worker: Server) -> None:
    server = server_without_worker
    async with visitor(server, Role.MEMBER) as http:
        for session in await server.application.access.sessions.list():
            await server.application.access.sessions.end(session.id)
        answer = await http.post("/tasks", data={"prompt": "x"})
        assert answer.status_code == 401
        assert "Your session is over" in read(answer).text
        program = await http.post("/api/v1/tasks", json={})
        assert (program.status_code, program.headers["Content-Type"]) == (401, "application/problem+json")
