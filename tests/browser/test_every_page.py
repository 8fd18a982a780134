"""Every page that there is, by the routes themselves: none can be forgotten by who adds one."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from playwright.async_api import Page, expect

from cloister.agents.check import CheckAgent
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentName, EnvironmentText
from cloister.model.schedule import Missed, Schedule, ScheduledRequest
from cloister.model.task import CHECK
from cloister.model.token import Role
from cloister.model.webhook import Webhook, WebhookId
from cloister.web.routes import OPEN_ROUTERS, ROUTERS

from ..unit.cli import conftest
from ..unit.served.conftest import Machine, Server
from ..unit.served.test_pages import REFUSAL
from .conftest import DESKTOP, PHONE, NewPage, log_in
from .test_flows import _looks_right as looks_right

pytestmark = pytest.mark.anyio

PARTS = {
    "/tasks/new/preview",
    "/tasks/new/repositories",
    "/tasks/new/branches",
    "/tasks/{task}/pull-request",
    "/environments/{name}/check/{task}/report",
    "/environments/-/check/{task}/report",
}
"""Of pages, which a script puts into them."""
MORE = ("/sessions?of=everybody", "/tasks/{task}/changes?view=split&file=1", "/environments/{name}?secret=KEY")
"""Pages of the same routes that look otherwise."""
FOCUS = """() => {
  const look = (it) => {
    const style = getComputedStyle(it);
    const whole = [style.outlineStyle, style.outlineWidth, style.boxShadow, style.borderColor, style.backgroundColor];
    return whole.join() + style.textDecorationLine;
  };
  const bad = [];
  for (const it of document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")) {
    if (!it.checkVisibility() || it.disabled || it.closest(".xterm") || it.type === "hidden") continue;
    document.activeElement.blur();
    const before = look(it);
    it.focus();
    if (document.activeElement === it && look(it) === before) bad.push(it.outerHTML.slice(0, 120));
  }
  return bad;
}"""


def pages() -> set[str]:
    """Return the paths of all routes that show a page."""
    routes = [route for router in (*OPEN_ROUTERS, *ROUTERS) for route in router.routes if isinstance(route, APIRoute)]
    shown = {it.path for it in routes if "GET" in it.methods and it.response_class is HTMLResponse}
    assert shown >= PARTS, "a part that is gone is taken out of the list"
    return shown - PARTS


async def _something_of_everything(server: Server) -> dict[str, str]:
    """Make what pages show, and return it by the names in their paths."""
    intake, automation = server.application.intake, server.application.automation
    now = datetime.now(UTC)
    await intake.environments.create("web", EnvironmentText(source="a test", raw=b"[setup]\nautomatic = false\n"))
    await intake.set_secret("web", "KEY", "hunter2")
    hook = Webhook(id=WebhookId("w1"), url="https://hooks.example/x", events=(), created_at=now, created_by="ann")
    await automation.webhooks.store.add(hook)
    await automation.schedules.store.add(
        Schedule(
            name="nightly",
            cron="0 3 * * *",
            timezone="UTC",
            missed=Missed.ONCE,
            created_at=now,
            created_by="ann",
            next_at=now,
            request=ScheduledRequest(repository=server.repository, prompt="Look"),
        )
    )
    async with server.as_owner() as owner:
        asked = server.request(agent=CHECK, command=None, environment=EnvironmentName(name="web"))
        check = await owner.submit(asked)
        task = await owner.submit(server.request())
        for each in (check, task):
            await owner.wait(each.id)
    return {"task": task.id, "check": check.id, "name": "web", "schedule": "nightly", "webhook": "w1"}


def _address(path: str, of: dict[str, str]) -> str:
    values = {**of, "name": of["schedule"]} if path.startswith("/schedules") else of
    return path.format_map({**values, "task": of["check"]} if "/check/" in path else values)


async def _has_visible_focus(page: Page) -> None:
    await page.keyboard.press("Tab")  # from now on, the browser shows where the focus is
    bad: list[Any] = await page.evaluate(FOCUS)
    assert bad == [], page.url


async def test_each_page_fits_is_read_by_everybody_and_shows_its_focus(
    machine: Machine, new_page: NewPage, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axe = (packages / "node_modules/axe-core/axe.min.js").read_text()
    monkeypatch.setattr(conftest, "AGENTS", (*conftest.AGENTS, CheckAgent()))
    machine.installation.decisions[Phase.AGENT] = [REFUSAL]
    async with machine.server() as server, new_page(server, reduced_motion="reduce") as page:
        of = await _something_of_everything(server)
        await page.goto("/login")
        await _look(page, axe)
        await log_in(page, server, Role.ADMIN)
        for path in sorted({*pages(), *MORE} - {"/login"}):
            address = _address(path, of)
            answer = await page.goto(address)
            assert answer is not None and answer.ok, address
            await expect(page.locator("h1")).to_be_visible()
            await _look(page, axe)
        await page.goto("/nowhere")
        await _look(page, axe)
        await page.evaluate("document.querySelectorAll('a').forEach((it) => { it.style.outline = 'none'; })")
        assert await page.evaluate(FOCUS) != [], "the twin: links whose focus nobody sees"


async def _look(page: Page, axe: str) -> None:
    """Look at the same page on two screens and in two colours."""
    for size, colors in ((DESKTOP, "light"), (PHONE, "dark")):
        await page.set_viewport_size(size)  # type: ignore[arg-type]
        await page.emulate_media(color_scheme=colors)  # type: ignore[arg-type]
        await looks_right(page, axe)
    await _has_visible_focus(page)
