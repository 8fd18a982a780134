"""The pages of environments at a real server."""

import httpx
import pytest

from cloister.model.phase import Phase
from cloister.model.token import Role

from .conftest import Machine, Server
from .test_pages import REFUSAL, ended, give, read, send, visitor

pytestmark = pytest.mark.anyio

TEXT = """\
agent = "command"
[setup]
automatic = false
[network] # nobody
agent = "off"
[secrets]
PAT = { mode = "brokered" }
[checks]
"""
VALUE = "s3cret-value-that-nobody-sees"


async def _create(http: httpx.AsyncClient, text: str = TEXT) -> httpx.Response:
    return await send(http, "/environments", name="web", text=text.replace("\n", "\r\n"))


async def test_an_environment_is_made_edited_and_deleted(server: Server) -> None:
    async with visitor(server, Role.ADMIN) as http:
        assert "None is stored" in read(await http.get("/environments")).text
        wrong = await _create(http, TEXT + 'lints = "x"\nmemory = 1\n')
        assert wrong.status_code == 422
        assert 'lints = "x"' in read(wrong).text, "what was written is still there"
        created = await _create(http)
        assert created.url.path == "/environments/web"
        assert (await server.application.intake.environments.get("web")).text == TEXT, (
            "line ends are as they were meant"
        )
        edited = TEXT.replace("off", "full")
        assert "version 2" in read(await send(http, "/environments/web", text=edited, base="1")).text
        late = await send(http, "/environments/web", text=TEXT + "# mine\n", base="1")
        assert late.status_code == 409
        assert "# mine" in read(late).text and "version 2" in read(late).text
        assert "version 1 of" in read(await http.get("/environments/web?version=1")).text
        await send(http, "/environments/web/delete")
        assert "None is stored" in read(await http.get("/environments")).text


async def test_a_text_is_checked_while_it_is_written(server: Server) -> None:
    async with visitor(server, Role.VIEWER) as http:
        right = read(await http.get("/environments/check", params={"text": TEXT})).text
        assert "What a task would get" in right and "PAT in the proxy alone" in right
        wrong = read(await http.get("/environments/check", params={"text": TEXT + "[netwrok]\n"})).text
        assert "network" in wrong, "the nearest key is named"


async def test_a_secret_goes_in_and_never_comes_out(server: Server) -> None:
    async with visitor(server, Role.ADMIN) as http:
        without = read(await _create(http)).text
        assert "No value is kept for PAT" in without
        address = "/environments/web/secrets"
        rule = {"mode": "brokered", "hosts": "api.example.com, b.example.com", "header": "X-Key", "format": "{}"}
        shown = await send(http, address, name="PAT", value=VALUE, **rule)
        page = read(shown).text
        assert "api.example.com b.example.com in header X-Key" in page and "No value is kept" not in page
        assert (await send(http, address, name="PAT", value=VALUE, mode="brokered", hosts="com")).status_code == 422
        assert "in header X-Key" in read(await http.get("/environments/web")).text, "nothing of that was kept"
        for everywhere in ("/environments", "/environments/web", "/environments/web/edit"):
            assert VALUE not in (await http.get(everywhere)).text
        refused = await send(http, "/environments/web/delete")
        assert refused.status_code == 409, "secrets are not forgotten by the way"
        assert "None is kept" in read(await send(http, f"{address}/remove", secret="PAT")).text


async def test_what_would_let_a_request_pass_is_put_into_its_environment(machine: Machine) -> None:
    machine.installation.decisions[Phase.AGENT] = [REFUSAL]
    async with machine.server() as server, visitor(server, Role.ADMIN) as http:
        await _create(http, TEXT.replace('PAT = { mode = "brokered" }\n', ""))
        address = await give(http, server, environment="web")
        await ended(http, address)
        task = address.rpartition("/")[2]
        assert f"/environments/web/edit?proposal={task}" in (await http.get(f"{address}/network")).text
        async with visitor(server, Role.MEMBER) as member:
            assert "?proposal=" not in (await member.get(f"{address}/network")).text
        editor = read(await http.get(f"/environments/web/edit?proposal={task}")).text
        assert editor.count("[network]") == 2, "in the notice, and once in the text: the former table is not there"
        text = editor[editor.index('agent = "command"') :]
        assert 'agent = "limited"' in text and '"example.com"' in text and "[checks]" in text
        other = await give(http, server)
        await ended(http, other)
        wrong = await http.get(f"/environments/web/edit?proposal={other.rpartition('/')[2]}")
        assert wrong.status_code == 422, "of a task that another recipe ran"
