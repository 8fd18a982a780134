"""Everything that a sandbox, a repository or a person can write, full of script, on every page: nothing rings."""

import dataclasses
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import pytest
from markupsafe import Markup
from playwright.async_api import Page, Route

from cloister.model.artifact import Artifact
from cloister.model.check import CheckResult
from cloister.model.event import AgentEvent, AgentEventKind, AttemptFinished, AttemptStarted, Event, Output
from cloister.model.flag import Flag, FlagKind
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentText
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.model.task import Outcome, Verdict
from cloister.model.token import Role
from cloister.web import page as pages

from ..unit.cli.conftest import Installation
from ..unit.served.conftest import Server
from .conftest import NewPage, log_in

pytestmark = pytest.mark.anyio

CORPUS = (
    "<script>ring()</script>",
    "<img src=x onerror=ring()>",
    '"><svg onload=ring()>',
    "'><input autofocus onfocus=ring()>",
    "</pre></code></td><iframe srcdoc='<script>parent.ring()</script>'>",
    "</title><body onpageshow=ring()>",
    "{{ ''.__class__ }}{% ring %}",
    "[x](javascript:ring())![x](http://192.0.2.1/x.png)",
    "<div hx-get=/ hx-trigger=load hx-on::load=ring() data-hx-on:load=ring()>",
)
HOSTILE = " ".join(CORPUS)
PATH = "<img src=x onerror=ring()>.py"
DIFF = f"""\
diff --git a/{PATH} b/{PATH}
index 1..2 100644
--- a/{PATH}\t
+++ b/{PATH}\t
@@ -1 +1,2 @@ {HOSTILE}
-{HOSTILE}
+{HOSTILE} more
+\u202e{HOSTILE}
""".encode()
ENVIRONMENT = f"""\
name = "web"
[variables]
V = "1"
[setup]
automatic = false
script = '''{HOSTILE}'''
[checks]
c = '''{HOSTILE}'''
"""
CHECK = CheckResult(name=HOSTILE, ok=False, status=1, seconds=1, reason=HOSTILE, last_words=HOSTILE, notes=(HOSTILE,))
OUTCOME = Outcome(
    verdict=Verdict.FAILED,
    reason=HOSTILE,
    hint=HOSTILE,
    exit_status=1,
    message=HOSTILE + "\n\n" + "\n\n".join(CORPUS),
    session=HOSTILE,
    change=Change(
        base=Commit("a" * 40),
        commit=Commit("b" * 40),
        diff=DIFF,
        stats=DiffStats(files=1, added=2, removed=1),
        flags=tuple(Flag(kind=kind, path=PATH, detail=HOSTILE) for kind in FlagKind),
        paths=(PATH,),
    ),
    artifacts=tuple(Artifact(name=name, size_bytes=1, sha256="d") for name in (PATH, f"{CORPUS[2]}.png", "x.svg")),
    checks=(CHECK,),
    seconds=dict.fromkeys(Phase, 1.0),
)
BRANCH = "<svg/onload=ring()>"
RING = "window.ring = () => { window.rang = window.event?.target?.outerHTML || window.event?.type || 'a script'; }"
_BELOW = ("", "/changes", "/changes?view=split&file=1", "/activity", "/network", "/details", "/recording")


def hostile_events() -> Iterator[Event]:
    """Every event that there is, and of what agents tell every kind, with all texts hostile."""
    for kind in Event.by_name.values():
        if kind not in (AttemptStarted, AttemptFinished, AgentEvent) and not kind.__name__.startswith("Task"):
            yield _hostile(kind)
    for number, told in enumerate(AgentEventKind):
        yield dataclasses.replace(_hostile(AgentEvent), kind=told, number=number)


def _hostile(kind: type[Any]) -> Any:
    hints = typing.get_type_hints(kind)
    return kind(**{field.name: _value(hints[field.name]) for field in dataclasses.fields(kind)})


def _value(hint: Any) -> object:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(next(each for each in arguments if each is not type(None)))
    if origin is tuple:
        return (_value(arguments[0]),)
    if origin is Mapping:
        return {HOSTILE: _value(arguments[1])}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    values: dict[object, object] = {str: HOSTILE, int: 1, float: 1.0, bool: False}
    return values[hint]


async def _hostile_task(server: Server, installation: Installation) -> list[str]:
    """Give a task in which everything is hostile, and return the addresses of its pages; nothing of it ran."""
    installation.git("branch", BRANCH)
    asked = server.request(
        ref=BRANCH,
        prompt=HOSTILE,
        command=HOSTILE,
        environment=EnvironmentText(source=HOSTILE, raw=ENVIRONMENT.encode()),
    )
    task = await server.application.intake.submit(asked)
    queue = server.application.intake.queue
    attempt = await queue.claim()
    assert attempt is not None
    for phase in Phase:
        await queue.record(attempt, phase, *hostile_events())
    await queue.finish(attempt, OUTCOME)
    return [f"/tasks/{task.id}{below}" for below in _BELOW]


async def _visit(page: Page, server: Server, addresses: Sequence[str]) -> list[str]:
    """Look at these pages, and return where a script ran."""
    await page.add_init_script(RING)
    await log_in(page, server)
    rang = []
    for address in addresses:
        await page.goto(address)
        await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        await page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        if await page.evaluate("window.rang"):
            rang.append(address)
    return rang


async def test_nothing_rings_even_where_scripts_may_run(
    server_without_worker: Server, installation: Installation, new_page: NewPage
) -> None:
    addresses = await _hostile_task(server_without_worker, installation)
    others = ("/", f"/?q={CORPUS[1]}", f"/tasks/new?repository=x&prompt={CORPUS[0]}", f"/login?next={CORPUS[0]}")
    async with new_page(server_without_worker, bypass_csp=True) as page:
        assert await _visit(page, server_without_worker, [*others, *addresses]) == []
        await page.goto(addresses[0])
        shown = await page.inner_text("main")
        assert all(part in shown for part in (*CORPUS[:6], BRANCH)), "it is shown as what it is"
        await page.goto(addresses[1])
        assert "\ufffd" in await page.inner_text(".diffs"), "what turns text around is seen"


async def test_without_escaping_it_would_have_rung(
    server_without_worker: Server, installation: Installation, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin of the above; and the policy alone stops it too, and says so."""
    careless = pages._templates().overlay(autoescape=False, finalize=str)
    careless.filters = {**careless.filters, "markdown": Markup}  # they are shared with what it was made of
    monkeypatch.setattr(pages, "_templates", lambda: careless)
    addresses = await _hostile_task(server_without_worker, installation)
    async with new_page(server_without_worker, complaints=[], bypass_csp=True) as page:
        assert await _visit(page, server_without_worker, addresses) == addresses
    complaints: list[str] = []
    async with new_page(server_without_worker, complaints=complaints) as page:
        assert await _visit(page, server_without_worker, addresses[:1]) == []
    assert any("Content Security Policy" in said for said in complaints)


async def test_what_a_page_is_told_while_it_runs_does_not_ring(
    server_without_worker: Server, new_page: NewPage
) -> None:
    server = server_without_worker
    task = await server.application.intake.submit(server.request())
    queue = server.application.intake.queue
    attempt = await queue.claim()
    assert attempt is not None
    async with new_page(server, bypass_csp=True) as page:
        await page.add_init_script(RING)
        await log_in(page, server, Role.VIEWER)
        await page.goto(f"/tasks/{task.id}")
        for phase in Phase:
            await queue.record(attempt, phase, *hostile_events())
        await queue.finish(attempt, OUTCOME)
        await page.locator(".answer").wait_for()
        assert await page.evaluate("window.rang") is None


ESCAPES = (
    "\x1b]8;;javascript:ring()\x07press\x1b]8;;\x07\x1b]0;<img src=x onerror=ring()>\x07"
    "\x1b[21t\x1b[c\x1b]52;c;cmluZw==\x07"
)


async def _what_scripts_draw(page: Page, server: Server, finished: str, running: str) -> list[str]:
    """Let a terminal, the player and the list of comments show what is hostile; return where a script ran."""
    await page.add_init_script(RING)
    await log_in(page, server)
    rang = []

    async def look(where: str) -> None:
        await page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 100)))")
        if await page.evaluate("window.rang"):
            rang.append(where)

    await page.goto(running)
    await page.locator("[data-kind=output]").scroll_into_view_if_needed()
    await page.locator("[data-kind=output][data-drawn]").wait_for()
    await page.locator(".xterm-screen").click(position={"x": 20, "y": 8})  # where the link would be
    await look("terminal")
    await page.goto(f"{finished}/recording")
    await page.get_by_role("button", name="Play", exact=True).click()
    await page.locator("[data-kind=player][data-shown]:not([data-shown='0'])").wait_for()
    await look("player")
    await page.goto(f"{finished}/changes")
    place = page.locator("#review[data-ready]")
    await place.wait_for(state="attached")
    key = f"cloister-review:{await place.get_attribute('data-review')}"
    comment = {"path": PATH, "side": "new", "line": 1, "quoted": HOSTILE, "text": HOSTILE}
    await page.evaluate("([key, value]) => sessionStorage.setItem(key, value)", [key, json.dumps([comment])])
    await page.reload()
    await page.locator("#review .comments li").wait_for()
    await look("comments")
    return rang


async def test_what_scripts_draw_does_not_ring(
    server_without_worker: Server, installation: Installation, new_page: NewPage
) -> None:
    server = server_without_worker
    finished = (await _hostile_task(server, installation))[0]
    running = await server.application.intake.submit(server.request())
    queue = server.application.intake.queue
    attempt = await queue.claim()
    assert attempt is not None
    hostile = Output(command="agent", stream="stdout", text=ESCAPES + "\n".join(CORPUS), offset=1)
    await queue.record(attempt, Phase.AGENT, hostile)
    async with new_page(server, bypass_csp=True) as page:
        assert await _what_scripts_draw(page, server, finished, f"/tasks/{running.id}") == []
        assert await page.title() != "<img src=x onerror=ring()>"

    async def careless(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(response=answer, body=(await answer.text()).replace("textContent", "innerHTML"))

    async with new_page(server, complaints=[], bypass_csp=True) as page:
        await page.route("**/static/*/terminal.js", careless)
        await page.route("**/static/*/review.js", careless)
        rang = await _what_scripts_draw(page, server, finished, f"/tasks/{running.id}")
        assert rang == ["terminal", "player", "comments"], "the twin: scripts that put text in as HTML"
