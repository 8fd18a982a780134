"""The pages at a real server, as a browser without scripts gets them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from html.parser import HTMLParser

import anyio
import httpx
import pytest

from cloister.model.network import Decision, EgressRecord
from cloister.model.phase import Phase
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Print, Program
from cloister.web.headers import POLICY

from ..cli.conftest import DIFF, Installation
from .conftest import Machine, Server

pytestmark = pytest.mark.anyio

TASK = {"prompt": "# Fix the test\n\nand say *why*", "agent": "command", "command": "make fix"}


MANIFEST = "/manifest.webmanifest"


class _Reader(HTMLParser):
    """What a page says, and the addresses that it loads scripts and styles from."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.fields: dict[str, str] = {}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]
        if tag in ("script", "link", "img", "iframe"):
            self.loads.append(attributes.get("src") or attributes.get("href", ""))
        if tag == "a":
            self.links.append(attributes.get("href", ""))
        if tag == "input" and attributes.get("type") == "hidden":
            self.fields[attributes["name"]] = attributes["value"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(answer: httpx.Response) -> _Reader:
    """Read a page; each has to keep to its own policy."""
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8", answer.text
    assert answer.headers["Content-Security-Policy"] == POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    reader = _Reader()
    reader.feed(answer.text)
    assert all(address.startswith("/static/") for address in reader.loads if address != MANIFEST), reader.loads
    assert reader.inline == []
    return reader


@asynccontextmanager
async def visitor(server: Server, role: Role) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody with that role, who has logged in."""
    headers = {"Origin": server.address, "Sec-Fetch-Site": "same-origin", "Accept": "text/html"}
    async with httpx.AsyncClient(base_url=server.address, headers=headers, follow_redirects=True, timeout=60) as http:
        await http.post("/login", data={"token": await server.token(role)})
        yield http


async def send(http: httpx.AsyncClient, address: str, **fields: str) -> httpx.Response:
    """Send a form of ours."""
    key = read(await http.get("/tasks/new" if address == "/tasks" else "/")).fields["page_key"]
    return await http.post(address, data={**fields, "page_key": key})


async def give(http: httpx.AsyncClient, server: Server, **fields: str) -> str:
    """Give a task by the form, and return its address."""
    page = await send(http, "/tasks", repository=server.repository, **{**TASK, **fields})
    assert page.status_code == 200, page.text
    return page.url.path


async def ended(http: httpx.AsyncClient, address: str) -> str:
    """Return what the page of a task says once that is over."""
    with anyio.fail_after(60):
        await http.get(f"/api/v1{address}/events")  # which ends with the task
    return read(await http.get(address)).text


async def test_who_has_no_session_logs_in_first_and_finds_what_was_wanted(server: Server) -> None:
    async with httpx.AsyncClient(base_url=server.address, follow_redirects=True) as http:
        page = read(await http.get("/tasks/t1", headers={"Accept": "text/html"}))
        assert page.text.count("Log in") >= 2
        assert page.fields == {"next": "/tasks/t1"}
        for address in page.loads:
            assert (await http.get(address)).status_code == 200
        assert (await http.get("/static/0000/app.js")).status_code == 404


@pytest.mark.parametrize(("role", "may"), [(Role.VIEWER, False), (Role.MEMBER, True)])
async def test_an_empty_server_explains_itself(server: Server, role: Role, may: bool) -> None:
    async with visitor(server, role) as http:
        page = read(await http.get("/")).text
        assert "Nothing has been asked yet" in page
        assert all(str(phase) in page.lower() for phase in Phase)
        assert ("Give the first task" in page) is may
        assert (await http.get("/tasks/new")).status_code == (200 if may else 403)


REFUSAL = EgressRecord(
    sandbox="t1",
    phase=Phase.AGENT,
    host="example.com",
    port=443,
    method="CONNECT",
    command="curl",
    decision=Decision(allowed=False, rule="agent internet is off", hint="set network.agent"),
)


QUERIES = {"q=FIX+the": True, "q=nowhere": False, "q=%25": False, "state=succeeded": True, "state=running": False}


async def test_a_task_is_given_read_followed_up_and_found(machine: Machine) -> None:
    machine.installation.decisions[Phase.AGENT] = [REFUSAL]
    async with machine.server() as server, visitor(server, Role.MEMBER) as http:
        address = await give(http, server)
        page = await ended(http, address)
        for told in (
            "succeeded",
            "Fix the test",
            "I fixed it.",
            "1 file, +1 -1",
            "1 request refused",
            "cloister apply",
        ):
            assert told in page, told
        await _read_all_pages(http, address)
        await send(http, f"{address}/follow-up", prompt="and the docs", attempt="1")
        assert "Turn 2" in await ended(http, address)
        assert "Fix the test" in read(await http.get(f"{address}?turn=1")).text
        queries = {
            "q=FIX+the": True,
            "q=nowhere": False,
            "state=succeeded": True,
            "state=running": False,
            "q=%25": False,
        }
        for query, finds in queries.items():
            assert ("and the docs" in read(await http.get(f"/?{query}")).text) is finds, query
        assert (await http.get("/?state=asleep")).status_code == 422
        again = read(await http.get(_link(await http.get(address), "/tasks/new?"))).text
        assert "and say *why*" in again, "the form as it was filled"
        assert "and the docs" not in read(await send(http, f"{address}/archive")).text
        assert "and the docs" in read(await http.get("/?state=archived")).text
        await send(http, f"{address}/archive", archived="false")
        assert "and the docs" in read(await http.get("/")).text
        for short in (address[:-1], f"/codex{address}"):
            assert (await http.get(short, follow_redirects=False)).headers["Location"] == address


def _link(page: httpx.Response, beginning: str) -> str:
    """Return the address that begins so, of those that a page leads to, which is not that alone."""
    (found,) = {address for address in read(page).links if address.startswith(beginning)}
    return found


async def _read_all_pages(http: httpx.AsyncClient, address: str) -> None:
    changes = read(await http.get(f"{address}/changes")).text
    assert "a.txt" in changes and "one" in changes and "two" in changes
    assert "Unified" in read(await http.get(f"{address}/changes?view=split&file=1")).text
    assert (await http.get(f"{address}/changes?file=2")).status_code == 404
    assert "working" in read(await http.get(f"{address}/activity")).text
    network = read(await http.get(f"{address}/network")).text
    assert "example.com:443" in network and "agent internet is off" in network
    assert 'agent = "limited"' in network, "what would let it pass"
    assert "Signed record" in read(await http.get(f"{address}/details")).text
    patch = await http.get(f"{address}/patch")
    assert patch.content == DIFF
    assert patch.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''")
    assert (await http.get(f"{address}/record")).json()["payloadType"]


async def test_several_are_ended_at_once(server_without_worker: Server) -> None:
    async with visitor(server_without_worker, Role.MEMBER) as http:
        addresses = [await give(http, server_without_worker) for _ in range(3)]
        waiting = read(await http.get(addresses[0])).text
        assert "It waits for a worker" in waiting
        ids = [address.rpartition("/")[2] for address in addresses]
        key = read(await http.get("/")).fields["page_key"]
        page = await http.post("/cancel", data={"page_key": key, "task": ids[:2]})
        assert read(page).text.count("cancelled") >= 2 + 1, "the two, and the choice of states"
        assert "queued" in read(await http.get(f"/tasks/{ids[2]}")).text


async def test_what_runs_is_told_as_it_comes(server: Server, installation: Installation) -> None:
    installation.node.programs["agent"] = Program(steps=[Print(data=b"<b>first</b>\n"), Hold()])
    async with visitor(server, Role.MEMBER) as http:
        address = await give(http, server)
        told: list[str] = []
        with anyio.fail_after(60):
            async with http.stream("GET", f"{address}/live", headers={"Accept": "text/event-stream"}) as stream:
                assert stream.headers["Content-Security-Policy"] == POLICY
                async for line in stream.aiter_lines():
                    told.append(line)
                    if "&lt;b&gt;first" in line:
                        installation.node.release_all()
                    if line == "event: over":
                        break
        text = "\n".join(told)
        assert "event: entries" in text and "event: phases" in text
        assert 'aria-current="step"' in text, "the phase that ran"
        assert "<b>first" not in text
        assert "What happens" not in read(await http.get(address)).text, "it is over by then"


async def test_what_is_wrong_is_said_on_a_page(server: Server) -> None:
    async with visitor(server, Role.MEMBER) as http:
        unknown = await http.get("/tasks/nope")
        assert unknown.status_code == 404
        assert "nope" in read(unknown).text
        nowhere = await http.get("/no/such/page")
        assert (nowhere.status_code, "All tasks" in read(nowhere).text) == (404, True)
        program = await http.get("/api/v1/no/such/route")
        assert program.headers["Content-Type"] == "application/problem+json"
        path = await send(http, "/tasks", repository="/etc", **TASK)
        assert path.status_code == 403
        assert "a path of the server is no repository" in read(path).text
        assert "and say *why*" in path.text, "what was written is still there"
        nobody = await send(http, "/tasks", repository=server.repository, prompt="x", agent="nobody")
        assert "there is no agent" in read(nobody).text
        assert (await http.post("/tasks", data={**TASK, "repository": server.repository})).status_code == 403, "no key"
        assert "Nothing has been asked yet" in read(await http.get("/")).text, "nothing of that was accepted"


async def test_a_form_shows_what_will_apply_and_the_same_as_a_command(server: Server) -> None:
    async with visitor(server, Role.MEMBER) as http:
        asked = {"repository": server.repository, "agent": "command", "command": "make 'it' so", "internet": "limited",
                 "allow": "example.com, example.org", "attempts": "2"}  # fmt: skip
        page = read(await http.get("/tasks/new/preview", params=asked)).text
        line = f"cloister run --repo {server.repository} --command 'make '\"'\"'it'\"'\"' so' --attempts 2"
        assert f"{line} --internet limited --allow example.com --allow example.org --detach PROMPT" in page
        assert "limited to 2 domains" in page
        wrong = read(await http.get("/tasks/new/preview", params={**asked, "allow": "com"}))
        assert "too broad" in wrong.text
