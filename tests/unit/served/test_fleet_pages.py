"""Pages about the machine and who is let in, at a real server, as a browser without scripts gets them."""

import re

import httpx
import pytest
from fastapi.routing import APIRoute

from cloister.automation.schedules import Schedules
from cloister.model.token import Role
from cloister.web.routes import ROUTERS

from ..cli.conftest import Installation
from .conftest import Machine, Server
from .test_pages import read, send, visitor

pytestmark = pytest.mark.anyio

SEEN_BY = {
    "/images": Role.VIEWER,
    "/agents": Role.VIEWER,
    "/workers": Role.VIEWER,
    "/schedules": Role.VIEWER,
    "/sessions": Role.VIEWER,
    "/help": Role.VIEWER,
    "/sessions?of=everybody": Role.ADMIN,
    "/tokens": Role.ADMIN,
    "/webhooks": Role.ADMIN,
    "/audit": Role.ADMIN,
    "/settings": Role.ADMIN,
}


async def test_each_page_is_shown_to_whom_it_is_for_and_named_in_the_menu(server: Server) -> None:
    for role in Role:
        async with visitor(server, role) as http:
            menu = read(await http.get("/help")).links
            for address, needed in SEEN_BY.items():
                page = await http.get(address)
                assert (page.status_code == 200) is role.includes(needed), (role, address)
                read(page)
                assert (address in menu) is (role.includes(needed) and "?" not in address), address


async def test_no_form_is_taken_without_the_key_of_its_page(server: Server) -> None:
    """For every form that there is; the twin is each test that sends one."""
    forms = [
        route.path
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and "POST" in route.methods
    ]
    assert "/tokens/revoke" in forms
    async with visitor(server, Role.ADMIN) as http:
        for path in forms:
            answer = await http.post(re.sub(r"{\w+}", "x", path), data={"name": "x", "token": "x"})
            assert (answer.status_code, "was not asked for by a page" in answer.text) == (403, True), path


async def test_an_image_is_built_pulled_and_removed_and_each_step_is_told(server: Server) -> None:
    async with visitor(server, Role.ADMIN) as http:
        built = read(await send(http, "/images/build", recipe="base")).text
        assert "100 % done" in built
        assert "base is built" in built
        pulled = read(await send(http, "/images/pull", reference="localhost:1/team/tools:1"))
        assert "localhost:1/team/tools:1 is here" in pulled.text
        assert "Remove localhost:1/team/tools:1" in (await http.get("/images")).text
        gone = await send(http, "/images/remove", name="localhost:1/team/tools:1")
        assert "Remove localhost:1/team/tools:1" not in gone.text
        for address, fields, words in (
            ("/images/build", {"recipe": "none"}, "there is no image"),
            ("/images/pull", {"reference": ".."}, "no reference"),
            ("/images/remove", {"name": "none"}, "none"),
        ):
            page = await send(http, address, **fields)
            assert page.status_code in (400, 404, 422), page.text
            assert words in read(page).text


async def test_what_fails_while_it_is_done_is_told_on_the_page_that_grew(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloister.errors import SandboxError

    async def broken(*_: object) -> None:
        raise SandboxError("the mirror <b>does not</b> answer", hint="try again")

    monkeypatch.setattr(type(server.application.intake.images), "build", broken)
    async with visitor(server, Role.ADMIN) as http:
        page = await send(http, "/images/build", recipe="base")
        assert "the mirror <b>does not</b> answer" in read(page).text
        assert "<b>" not in page.text


async def test_an_agent_is_installed_and_removed(server: Server) -> None:
    async with visitor(server, Role.ADMIN) as http:
        assert "robot 1 is installed" in read(await send(http, "/agents/install", name="robot")).text
        page = (await http.get("/agents")).text
        assert "Remove robot" in page
        assert "<code>check</code>" not in page, "nobody asks for it: it is what a check of an environment runs"
        await send(http, "/agents/remove", name="robot")
        assert "Remove robot" not in (await http.get("/agents")).text


async def test_workers_and_what_they_run_are_shown(server_without_worker: Server) -> None:
    server = server_without_worker
    task = await server.application.intake.submit(server.request())
    async with visitor(server, Role.VIEWER) as http:
        assert "idle" in read(await http.get("/workers")).text
        assert await server.application.intake.queue.claim() is not None
        page = read(await http.get("/workers"))
        assert f"/tasks/{task.id}" in page.links
        slots = server.application.settings.slots
        assert all(words in page.text for words in ("at work", f"1 of {slots} slots taken", "fix the test"))


async def test_a_token_is_shown_once_and_revoked(server: Server) -> None:
    async with visitor(server, Role.ADMIN) as http:
        made = await send(http, "/tokens", name="ci <i>", role="viewer", days="7")
        [text] = set(re.findall(r"clo_[\w-]{43}", made.text))
        assert "<i>" not in made.text
        shown = await http.get("/tokens")
        assert text not in shown.text, "it is shown once"
        async with httpx.AsyncClient(base_url=server.address, headers={"Authorization": f"Bearer {text}"}) as other:
            me = (await other.get("/api/v1/sessions/current")).json()
            assert (me["name"], me["role"]) == ("ci <i>", "viewer")
            [token] = [one for one in await server.application.tokens.list() if one.name == "ci <i>"]
            assert token.expires_at is not None
            assert (token.expires_at - token.created_at).days == 7
            revoked = read(await send(http, "/tokens/revoke", token=token.id)).text
            assert "revoked" in revoked
            assert (await other.get("/api/v1/sessions/current")).status_code == 401
        wrong = await send(http, "/tokens", name="", role="viewer", days="7")
        assert wrong.status_code == 422
        assert "1 to 100 characters" in read(wrong).text


async def test_everybody_ends_their_own_sessions_and_nobody_elses(server: Server) -> None:
    async with visitor(server, Role.VIEWER) as ann, visitor(server, Role.ADMIN) as root:
        sessions = server.application.access.sessions
        [of_ann] = [one for one in await sessions.list() if one.holder == f"token {await _token_of(server, 'VIEWER')}"]
        [of_root] = [one for one in await sessions.list() if one != of_ann]
        shown = (await ann.get("/sessions")).text
        assert of_ann.id in shown
        assert of_root.id not in shown
        assert (await send(ann, "/sessions/end", session=of_root.id)).status_code == 403
        assert of_root.id in {one.id for one in await sessions.list()}
        everybody = (await root.get("/sessions?of=everybody")).text
        assert of_ann.id in everybody
        await send(ann, "/sessions/end", session=of_ann.id)
        assert "Log in" in read(await ann.get("/sessions")).text


async def _token_of(server: Server, name: str) -> str:
    return next(token.id for token in await server.application.tokens.list() if token.name == name)


async def test_a_person_is_shut_out_and_let_in_again(server: Server) -> None:
    users = server.application.access.users
    user = await users.store.note("https://id.example", "1", name="ann", role=Role.VIEWER, at=users.now())
    async with visitor(server, Role.ADMIN) as http:
        page = read(await send(http, f"/users/{user.id}", disabled="true")).text
        assert "Let in again" in page
        page = read(await send(http, f"/users/{user.id}", disabled="false")).text
        assert "Shut out" in page


async def test_the_audit_is_read_a_page_at_a_time_and_filtered(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloister.web.audit_page.ENTRIES_AT_ONCE", 2)
    async with visitor(server, Role.ADMIN) as http:
        for number in range(3):
            await send(http, "/tokens", name=f"token-{number}", role="viewer", days="7")
        first = read(await http.get("/audit?action=tokens"))
        assert "token-2" in first.text
        assert "token-0" not in first.text
        [older] = [link for link in first.links if "cursor=" in link]
        second = read(await http.get(older)).text
        assert "token-0" in second
        assert "token-2" not in second
        async with visitor(server, Role.VIEWER) as ann:
            assert (await ann.get("/audit")).status_code == 403
        refused = read(await http.get("/audit?refused=true")).text
        assert "403" in refused
        assert "token-0" not in refused


async def test_settings_are_shown_with_their_source_and_without_secrets(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, installation: Installation
) -> None:
    from cloister.settings_files import load_settings
    from cloister.settings_shown import shown_settings

    file = installation.state.parent / "cloister.toml"
    file.write_text(
        'upstream_proxy = "http://ann:hidden-1@proxy.example:3128"\n[models.mine]\nbase = "https://m.example/v1"\n'
        'api = "chat"\nkey = "hidden-2-hidden"\nheaders = { X-Team = "hidden-3" }\n'
        '[oidc]\nissuer = "https://id.example"\nclient_id = "c"\nclient_secret = "hidden-4"\nadmins = ["*"]\n'
    )
    file.chmod(0o600)
    monkeypatch.setenv("CLOISTER_OTLP_ENDPOINT", "http://hidden-5:hidden-6@collector.example:4318/x?key=hidden-7")
    shown = {one.name: one for one in shown_settings(load_settings(file))}
    assert "hidden" not in str(shown)
    assert (shown["upstream_proxy"].value, shown["upstream_proxy"].source) == ("proxy.example:3128", str(file))
    assert shown["otlp_endpoint"].source == "CLOISTER_OTLP_ENDPOINT"
    assert shown["models.mine.base"].value == "https://m.example/v1"
    assert all(
        shown[name].is_secret for name in ("models.mine.key", "models.mine.headers.X-Team", "oidc.client_secret")
    )
    assert shown["slots"].source == "default"
    async with machine.server(slots=3) as server, visitor(server, Role.ADMIN) as http:
        page = read(await http.get("/settings")).text
        assert "slots 3" in page


async def test_a_schedule_is_kept_paused_and_removed(server: Server) -> None:
    schedules: Schedules = server.application.automation.schedules
    fields = {"name": "nightly", "cron": "30 6 * * *", "repository": server.repository, "prompt": "# Tidy <b>up</b>"}
    async with visitor(server, Role.MEMBER) as http:
        wrong = await send(http, "/schedules", **{**fields, "cron": "never"})
        assert wrong.status_code == 422
        assert 'value="never"' in wrong.text, "what was written is still there"
        page = await send(http, "/schedules", **fields, agent="command", command="make tidy")
        assert "Tidy <b>up</b>" in read(page).text
        assert "<b>" not in page.text
        assert (await schedules.get("nightly")).created_by == "MEMBER"
        assert "paused" in read(await send(http, "/schedules/nightly/pause", paused="true")).text
        assert "Not yet." in read(await http.get("/schedules/nightly")).text
        assert "nightly" not in read(await send(http, "/schedules/nightly/remove")).text
        async with visitor(server, Role.VIEWER) as ann:
            assert (await send(ann, "/schedules", **fields)).status_code == 403


async def test_a_webhook_is_made_tested_and_removed(server: Server) -> None:
    async with visitor(server, Role.ADMIN) as http:
        wrong = await send(http, "/webhooks", url="ftp://hooks.example", events="task_finished")
        assert wrong.status_code == 422
        made = await send(http, "/webhooks", url="http://hooks.example:1/x", events="task_finished")
        [secret] = set(re.findall(r"whsec_[\w+/=]+", made.text))
        [webhook] = await server.application.automation.webhooks.list()
        assert secret not in (await http.get("/webhooks")).text
        tested = read(await send(http, "/webhooks/test", webhook=webhook.id)).text
        assert "given up" in tested
        rotated = await send(http, "/webhooks/rotate", webhook=webhook.id)
        assert set(re.findall(r"whsec_[\w+/=]+", rotated.text)) != {secret}
        assert "paused" in read(await send(http, "/webhooks/pause", webhook=webhook.id, paused="true")).text
        assert "No webhook yet." in read(await send(http, "/webhooks/remove", webhook=webhook.id)).text


async def test_the_dashboard_draws_what_there_is_and_says_it_in_words(server: Server) -> None:
    async with visitor(server, Role.VIEWER) as http, server.as_owner() as owner:
        empty = read(await http.get("/dashboard")).text
        assert all(words in empty for words in ("Nobody was asked.", "No task was given", "No agent started."))
        await owner.wait((await owner.submit(server.request())).id)
        for span in ("day", "week", "month", "quarter"):
            page = await http.get(f"/dashboard?span={span}")
            assert page.text.count('role="img"') == 2, "hosts are not drawn where nobody was asked"
            assert 'class="is-succeeded"' in page.text
            assert "command 1 100 % 0 0 $0.00" in read(page).text
        assert (await http.get("/dashboard?span=century")).status_code == 422
        for query in (
            "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z",
            "since=2020-01-01T00:00:00Z",
            "until=0001-01-02T00:00:00Z",
            "since=0001-01-01T00:00:00%2B05:00",
            "since=9999-12-31T23:59:59Z",
            "parts=0",
        ):
            assert (await http.get(f"/api/v1/statistics?{query}")).status_code == 422, query
        last = "since=9999-12-31T00:00:00Z&until=9999-12-31T23:59:59Z"
        assert (await http.get(f"/api/v1/statistics?{last}")).json()["tasks"] == 0
