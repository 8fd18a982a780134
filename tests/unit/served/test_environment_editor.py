"""The editor of environments, as a browser uses it with and without scripts."""

import html
import json
import re

import httpx
import pytest

from cloister.model.audit import AuditFilter
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentText
from cloister.model.token import Role

from .conftest import Machine, Server
from .test_pages import REFUSAL, ended, give, read, send, visitor

pytestmark = pytest.mark.anyio

TEXT = '# mine\nimage = "base"\n\n[network]\nagent = "off" # nobody\n'
CORPUS = "<img src=x onerror=ring()>"


async def _fields(http: httpx.AsyncClient, address: str) -> dict[str, str]:
    """Return the hidden fields of a page's editor."""
    return read(await http.get(address)).fields


def _text(page: httpx.Response) -> str:
    found = re.search(r'<textarea id="text"[^>]*>\n(.*?)</textarea>', page.text, re.DOTALL)
    assert found is not None, page.text
    return html.unescape(found[1])


async def _store(server: Server, text: str = TEXT, name: str = "web") -> None:
    await server.application.intake.environments.create(name, EnvironmentText(source="a test", raw=text.encode()))


async def test_an_environment_may_be_called_as_pages_are(server_without_worker: Server) -> None:
    async with visitor(server_without_worker, Role.ADMIN) as http:
        for name in ("new", "import", "form", "edit"):
            await _store(server_without_worker, name=name)
            assert f"<h1>{name}</h1>" in (await http.get(f"/environments/{name}")).text
            assert f"<h1>Edit {name}</h1>" in (await http.get(f"/environments/{name}/edit")).text


async def test_the_form_and_the_text_follow_each_other(server_without_worker: Server) -> None:
    server = server_without_worker
    async with visitor(server, Role.ADMIN) as http:
        fields = await _fields(http, "/environments/-/new")
        script = {"HX-Request": "true"}
        asked = {"page_key": fields["page_key"], "was": "{}", "text": TEXT, "f:network.agent": "limited"}
        part = await http.post("/environments/-/form", data={**asked, "side": "form"}, headers=script)
        assert _text(part) == TEXT.replace('"off"', '"limited"')
        assert "limited" in part.text and "<form" not in part.text
        part = await http.post(
            "/environments/-/form", data={**asked, "side": "text", "f:network.agent": ""}, headers=script
        )
        assert 'id="fields"' in part.text and '<option value="off" selected>' in part.text
        assert 'id="text"' not in part.text, "whoever writes it is not disturbed"
        wrong = {**asked, "text": "a = 1 = 2", "side": "text"}
        part = await http.post("/environments/-/form", data=wrong, headers=script)
        assert "the text, line 1, column" in part.text and 'id="fields"' not in part.text
        unknown = {**asked, "side": "text", "f:network.agent": "", "text": f'"{CORPUS}" = 1'}
        part = await http.post("/environments/-/form", data=unknown, headers=script)
        assert "unknown key" in part.text and CORPUS not in part.text and html.escape(CORPUS) in part.text
        entries = await server.application.access.audit.list(AuditFilter(), limit=50)
        assert {entry.path for entry in entries} == {"/login"}, "nothing was changed"
        assert list(await server.application.intake.environments.list()) == []


async def test_without_scripts_either_side_is_sent_and_saved(server_without_worker: Server) -> None:
    server = server_without_worker
    await _store(server)
    async with visitor(server, Role.ADMIN) as http:
        fields = await _fields(http, "/environments/web/edit")
        assert json.loads(fields["was"])["network.agent"] == "off"
        asked = {**fields, "text": TEXT.replace("\n", "\r\n"), "f:network.agent": "limited", "f:checks[0]": "lint",
                 "f:checks[0].command": "ruff\r\ncheck"}  # fmt: skip
        page = await http.post("/environments/-/form", data={**asked, "more": "checks"})
        shown = _text(page)
        assert 'agent = "limited" # nobody' in shown and 'lint = """\nruff\ncheck"""' in shown
        assert 'name="f:checks[2]"' in page.text, "one more than the empty one"
        assert (await http.post("/environments/web", data=asked)).url.path == "/environments/web"
        stored = await server.application.intake.environments.get("web")
        assert (stored.version, stored.text) == (2, shown), "what the form says is saved with the text"
        fields = await _fields(http, "/environments/web/edit")
        broken = await http.post("/environments/web", data={**fields, "text": "a = ", "f:network.agent": "full"})
        assert broken.status_code == 422 and _text(broken) == "a = "
        assert "the form is shown once the text is TOML".lower() in read(broken).text.lower()
        assert (await server.application.intake.environments.get("web")).version == 2


async def test_the_second_of_two_is_told_what_the_first_changed_and_keeps_the_text(
    server_without_worker: Server,
) -> None:
    server = server_without_worker
    await _store(server)
    async with visitor(server, Role.ADMIN) as first, visitor(server, Role.ADMIN) as second:
        mine, theirs = [await _fields(http, "/environments/web/edit") for http in (first, second)]
        assert (await first.post("/environments/web", data={**mine, "text": "image = 'first'\n"})).status_code == 200
        told = await second.post("/environments/web", data={**theirs, "text": "image = 'second'\n"})
        assert told.status_code == 409
        page = read(told).text
        assert "was changed meanwhile" in page and "+image = 'first'" in page
        assert _text(told) == "image = 'second'\n"
        again = {**read(told).fields, "text": "image = 'second'\n"}
        assert (await second.post("/environments/web", data=again)).status_code == 409, "still"
        seen = await second.post("/environments/web", data={**again, "over": "2"})
        assert seen.url.path == "/environments/web" and "version 3" in read(seen).text


async def test_who_may_edit_and_only_from_a_page_of_ours(server_without_worker: Server) -> None:
    server = server_without_worker
    await _store(server)
    changes = {
        "/environments": {"name": "other", "text": ""},
        "/environments/web": {"text": "", "base": "1"},
        "/environments/-/form": {"text": ""},
    }
    for role in (Role.VIEWER, Role.MEMBER, Role.ADMIN):
        async with visitor(server, role) as http:
            key = {} if role is Role.ADMIN else {"page_key": await _key(http)}
            for address, fields in changes.items():
                assert (await http.post(address, data={**fields, **key})).status_code == 403, (role, address)
            assert ("/environments/web/edit" in (await http.get("/environments/web")).text) is (role is Role.ADMIN)
    assert [each.version for each in await server.application.intake.environments.list()] == [1]


async def _key(http: httpx.AsyncClient) -> str:
    return (await _fields(http, "/"))["page_key"]


async def test_what_was_refused_is_proposed_to_the_environment_that_refused_it(machine: Machine) -> None:
    machine.installation.decisions[Phase.AGENT] = [REFUSAL]
    async with machine.server() as server, visitor(server, Role.ADMIN) as http:
        await _store(server)
        for fields, editor in (({"environment": "web"}, "/environments/web/edit"), ({}, "/environments/-/new")):
            address = await give(http, server, **fields)
            await ended(http, address)
            link = f"{editor}?proposal={address.rpartition('/')[2]}"
            assert f'href="{link}"' in (await http.get(f"{address}/network")).text
            page = await http.get(link)
            assert "Read it, and save" in read(page).text
            assert '"example.com"' in _text(page)
            other = {"/environments/-/new": "/environments/web/edit"}.get(editor, "/environments/-/new")
            refused = await http.get(link.replace(editor, other))
            assert refused.status_code == 422 and "was not run by" in refused.text
        assert (await server.application.intake.environments.get("web")).text == TEXT, "nothing is widened"
        async with visitor(server, Role.MEMBER) as member:
            assert "proposal=" not in (await member.get(f"{address}/network")).text


async def test_one_button_puts_the_proposal_into_the_environment(machine: Machine) -> None:
    machine.installation.decisions[Phase.AGENT] = [REFUSAL]
    async with machine.server() as server, visitor(server, Role.ADMIN) as http:
        environments = server.application.intake.environments
        await _store(server)
        address = await give(http, server, environment="web")
        await ended(http, address)
        assert f'action="{address}/allow"' in (await http.get(f"{address}/network")).text
        async with visitor(server, Role.MEMBER) as member:
            assert (
                await member.post(f"{address}/allow", data={"base": "1", "page_key": await _key(member)})
            ).status_code == 403
        by_defaults = await give(http, server)
        await ended(http, by_defaults)
        refused = await send(http, f"{by_defaults}/allow", base="1")
        assert refused.status_code == 422 and "was not run by the stored environment" in refused.text
        assert (await environments.get("web")).text == TEXT, "nothing is widened"
        page = await send(http, f"{address}/allow", base="1")
        assert "is in version 2 by now" in read(page).text
        stored = await environments.get("web")
        assert (stored.version, '"example.com"' in stored.text) == (2, True)
        late = await send(http, f"{address}/allow", base="1")
        assert late.status_code == 409, "somebody else was faster"
        assert (await environments.get("web")).version == 2
