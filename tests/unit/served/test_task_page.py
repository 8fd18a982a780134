"""What the pages of a task do beyond telling of it: a shell, pictures, recordings, a pull request; refusals first."""

import base64
import json
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from cloister.model.audit import AuditFilter
from cloister.model.phase import Phase
from cloister.model.task import TaskState
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Print, Program
from cloister.testing.github.server import serve_github
from cloister.web import publishing, task_list
from cloister.web.assets import asset_address
from cloister.web.diff_view import files_of

from ..cli.conftest import Installation
from .conftest import Machine, Server
from .test_pages import ended, give, read, send, visitor

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 20
SVG = b"<svg xmlns='http://www.w3.org/2000/svg' onload='ring()'/>"
SIZE = {"columns": 100, "rows": 30}
TOKEN = "ghp_0123456789abcdefghij"
AS_A_SCRIPT = {"Accept": "application/json"}


async def _running(server: Server, installation: Installation) -> str:
    """Give a task whose agent works until it is released, and return the address of its page."""
    task = await server.application.intake.submit(server.request())
    with anyio.fail_after(60):
        async for recorded in server.application.intake.events(task.id, follow=True):
            if recorded.phase is Phase.AGENT and getattr(recorded.event, "text", ""):
                break
    return f"/tasks/{task.id}"


async def _key(http: httpx.AsyncClient) -> dict[str, str]:
    return {"X-Cloister-Page-Key": read(await http.get("/")).fields["page_key"], **AS_A_SCRIPT}


async def test_a_shell_is_for_members_and_for_whoever_opened_it(server: Server, installation: Installation) -> None:
    installation.node.programs["agent"] = Program(steps=[Print(data=b"working\n"), Hold()])
    address = await _running(server, installation)
    async with visitor(server, Role.VIEWER) as viewer, visitor(server, Role.MEMBER) as http:
        refused = await viewer.post(f"{address}/shell", json=SIZE, headers=await _key(viewer))
        assert (refused.status_code, refused.headers["Content-Type"]) == (403, "application/problem+json")
        assert (await http.post(f"{address}/shell", json=SIZE)).status_code == 403, "without the key of its pages"
        elsewhere = {**await _key(http), "Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        assert (await http.post(f"{address}/shell", json=SIZE, headers=elsewhere)).status_code == 403
        huge = {"columns": 100_000, "rows": 1}
        assert (await http.post(f"{address}/shell", json=huge, headers=await _key(http))).status_code == 422
        shown, status = b"", None
        async with http.stream("POST", f"{address}/shell", json=SIZE, headers=await _key(http)) as answer:
            lines = answer.aiter_lines()
            shell = f"{address}/shell/{json.loads(await anext(lines))['shell']}"
            async with visitor(server, Role.MEMBER) as other:
                typed = await other.post(shell, json={"typed": "rm -rf /\n"}, headers=await _key(other))
                assert typed.status_code == 404, "the shell of somebody else"
            wrong = await http.post(f"{address}/shell/guessed", json={"typed": "x"}, headers=await _key(http))
            assert wrong.status_code == 404
            for text in ("echo hé\n", "exit\n"):
                assert (await http.post(shell, json={"typed": text}, headers=await _key(http))).status_code == 204
            async for line in lines:
                said = json.loads(line)
                shown += base64.b64decode(said.get("shown", ""))
                status = said.get("status", status)
        assert (shown.decode(), status) == ("echo hé\nexit\n", 0)
        assert (await http.post(shell, json={"typed": "x"}, headers=await _key(http))).status_code == 404, "it is over"
        told = await server.application.access.audit.list(AuditFilter(action="tasks_shell"), limit=10)
        assert [entry.status for entry in told].count(200) == 1, "that it was opened is in the audit, once"
        typed_told = await server.application.access.audit.list(AuditFilter(action="tasks_typed"), limit=10)
        assert {entry.status for entry in typed_told} == {404}, "and no key, but who tried"
        cast = (await http.get(f"{address}/recording.cast?shell=1")).text.splitlines()
        assert json.loads(cast[0])["version"] == 2
        assert "echo hé" in json.loads(cast[2])[2]
        async with http.stream("POST", f"{address}/shell", json=SIZE, headers=await _key(http)) as answer:
            shell = f"{address}/shell/{json.loads(await anext(answer.aiter_lines()))['shell']}"
        with anyio.fail_after(60):  # whoever goes away hangs up
            while (await http.post(shell, json={"typed": "x"}, headers=await _key(http))).status_code != 404:
                pass
        installation.node.release_all()
        await ended(http, address)
        late = await http.post(f"{address}/shell", json=SIZE, headers=await _key(http))
        assert late.status_code == 409
        assert "nothing runs there" in late.json()["detail"]


async def test_only_pictures_that_are_what_they_are_called_are_shown(
    server: Server, installation: Installation
) -> None:
    left = {"a-b.png": PNG, "not.png": SVG, "x.svg": SVG, "page.gif": PNG, "x.txt": PNG}
    at = "/cloister/out/artifacts/"
    installation.node.programs["agent"] = Program(steps=[], leaves={at + name: data for name, data in left.items()})
    async with visitor(server, Role.MEMBER) as http:
        task = await server.application.intake.submit(server.request())
        with anyio.fail_after(60):
            await http.get(f"/api/v1/tasks/{task.id}/events")
        page = (await http.get(f"/tasks/{task.id}")).text
        assert page.count("<img ") == 3, "those that are called pictures; never SVG"
        assert 'x.svg"' not in page.replace('artifact?name=x.svg"', "")
        for name in left:
            answer = await http.get(f"/tasks/{task.id}/picture", params={"name": name})
            if name != "a-b.png":
                assert answer.status_code == 404, name
                continue
            assert (answer.content, answer.headers["Content-Type"]) == (PNG, "image/png")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "sandbox" in answer.headers["Content-Security-Policy"]
        saved = await http.get(f"/tasks/{task.id}/artifact", params={"name": "x.svg"})
        assert saved.headers["Content-Disposition"].startswith("attachment")


async def test_scripts_come_compressed_to_whoever_takes_that(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.address) as http:
        address = asset_address("terminal.js")
        packed = await http.get(address)
        plain = await http.get(address, headers={"Accept-Encoding": "gzip;q=0, identity"})
        assert (packed.headers["Content-Encoding"], plain.headers.get("Content-Encoding")) == ("gzip", None)
        assert packed.content == plain.content
        assert int(packed.headers["Content-Length"]) < len(plain.content) / 3


async def test_the_whole_output_is_saved_and_played(server: Server, installation: Installation) -> None:
    data = b"\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b]8;;javascript:ring()\x07link\x1b]8;;\x07 \xe2\x80\xae\n"
    installation.node.programs["agent"] = Program(steps=[Print(data=data)])
    async with visitor(server, Role.MEMBER) as http:
        address = await give(http, server)
        await ended(http, address)
        log = await http.get(f"{address}/log")
        assert log.text == "\x1b[31mred\x1b[0mlink \N{REPLACEMENT CHARACTER}\n"
        assert log.headers["Content-Disposition"].startswith("attachment")
        assert "Play" in read(await http.get(f"{address}/recording")).text
        header, first = (await http.get(f"{address}/recording.cast")).text.splitlines()
        assert json.loads(header)["version"] == 2
        assert json.loads(first)[2] == "\x1b[31mred\x1b[0mlink \u202e\r\n"
        assert (await http.get(f"{address}/recording.cast?shell=1")).status_code == 404


async def test_a_search_says_how_far_it_looked(server_without_worker: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_list, "LOOKED_AT", 2)
    async with visitor(server_without_worker, Role.MEMBER) as http:
        for number in range(5):
            await give(http, server_without_worker, prompt=f"number {number}")
        page = read(await http.get("/?q=number+1"))
        assert "None of the 2 tasks that were searched is like that." in page.text
        (further,) = (address for address in page.links if "cursor" in address)
        assert "number 1" in read(await http.get(further)).text
        assert "Search older ones" not in read(await http.get("/")).text, "a list is no search"


async def test_a_search_by_the_api_looks_at_so_many_a_page_and_the_client_follows(
    server_without_worker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloister.api.tasks.LOOKED_AT", 2)
    server = server_without_worker
    async with visitor(server, Role.MEMBER) as http, server.as_owner() as owner:
        for number in range(5):
            await give(http, server, prompt=f"number {number % 4}")
        first = (await http.get("/api/v1/tasks?text=number+1")).json()
        assert (first["items"], first["cursor"] is None) == ([], False), "two were looked at, and there are older ones"
        second = (await http.get(f"/api/v1/tasks?text=number+1&cursor={first['cursor']}")).json()
        assert len(second["items"]) == 1
        found = await owner.tasks(text="number 0")
        assert [status.task.prompt for status in found] == ["number 0", "number 0"], "from the first to the last page"
        assert len(await owner.tasks(text="number 0", limit=1)) == 1
        assert await owner.tasks(text="nothing") == []
        assert len(await owner.tasks(state=TaskState.QUEUED, limit=4)) == 4


async def test_a_change_is_proposed_from_its_page(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_github(tmp_path / "forge") as github:
        shop = github.accounts.add("team/shop", writers=["ann"])
        github.accounts.add_token(TOKEN, "ann")
        machine.installation.git("push", "--quiet", str(shop.path), "main")
        shop.follow_branches()
        monkeypatch.setenv("CLOISTER_GITHUB_URL", github.url)
        command = partial(machine.installation.run, "github", "set-token", stdin=TOKEN)
        assert (await anyio.to_thread.run_sync(command)).exit_code == 0
        settings = {"url": github.url}
        async with machine.server(github=settings) as server, visitor(server, Role.MEMBER) as http:
            elsewhere = await give(http, server)
            assert "Pull request" not in await ended(http, elsewhere), "its repository is at no forge"
            task = await server.application.intake.submit(
                server.request(repository=f"{github.url}/team/shop", guarded=False)
            )
            address = f"/tasks/{task.id}"
            assert "Open a pull request" in await ended(http, address)
            async with visitor(server, Role.VIEWER) as viewer:
                assert "Open a pull request" not in read(await viewer.get(address)).text
                refused = await viewer.post(f"{address}/pull-request", headers=await _key(viewer))
                assert refused.status_code == 403
            page = read(await send(http, f"{address}/pull-request", attempt="1", draft="true"))
            (pull,) = shop.pulls.values()
            assert pull.draft
            assert "Pull request 1" in page.text and "Bring it up to date" in page.text
            assert task.branch in page.text
            state = f"{address}/pull-request"
            assert "draft" in (await http.get(state)).text
            pull.draft, pull.state = False, "closed"
            asked = len(github.asked)
            assert "draft" in (await http.get(state)).text
            assert len(github.asked) == asked, "who looks again is told what was just said"
            monkeypatch.setattr(publishing, "FRESH", timedelta())
            assert "closed" in (await http.get(state)).text


async def test_a_line_is_commented_on_without_a_script(server: Server) -> None:
    async with visitor(server, Role.MEMBER) as http:
        address = await give(http, server)
        await ended(http, address)
        (file,) = files_of((await server.application.intake.results.change(address.rpartition("/")[2])).diff)
        wrong = await send(http, f"{address}/comment", path="no such file", line="1", text="x")
        assert wrong.status_code == 422 and "no such file" in wrong.text
        wrong = await send(http, f"{address}/comment", path=file.path, line="99", text="x")
        assert wrong.status_code == 422 and "shows no line 99" in wrong.text
        status = await server.application.intake.task(address.rpartition("/")[2])
        assert len(status.turns) == 1, "nothing was asked"
        await send(http, f"{address}/comment", path=file.path, line="1", text="Say it otherwise")
        asked = (await server.application.intake.task(status.task.id)).last_turn.prompt
        assert asked == f"Comments on the change of {file.path}:\n\n`{file.path}:1`\n\n    two\n\nSay it otherwise"
