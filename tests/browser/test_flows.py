"""The whole way with a task, as people go it: with a mouse on two sizes of screens, by keyboard, without scripts."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from playwright.async_api import Page, expect

from cloister.model.phase import Phase
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Print, Program

from ..unit.served.conftest import Machine, Server
from ..unit.served.test_pages import REFUSAL
from .conftest import DESKTOP, PHONE, NewPage, log_in

pytestmark = pytest.mark.anyio

ANSWER = b"I **fixed** it."


def _held() -> Program:
    return Program(steps=[Print(data=b"working\n"), Hold()], leaves={"/cloister/out/message.md": ANSWER})


async def _fill(page: Page, server: Server) -> None:
    await page.get_by_label("What should be done?").fill("Fix the test, it's broken")
    await page.get_by_label("Repository").fill(server.repository)
    await page.get_by_label("Agent", exact=True).select_option("command")
    await page.get_by_role("textbox", name="Command line").fill("make fix")


async def _looks_right(page: Page, axe: str) -> None:
    """Nothing is wider than the screen, and no serious rule of WCAG is broken."""
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), page.url
    await page.evaluate(axe)
    found: dict[str, Any] = await page.evaluate("axe.run({resultTypes: ['violations']})")
    bad = [
        (it["id"], [(node["target"], node["failureSummary"]) for node in it["nodes"]])
        for it in found["violations"]
        if it["impact"] in ("serious", "critical")
    ]
    assert bad == [], page.url


@pytest.mark.parametrize(("size", "colors"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
async def test_a_task_from_first_to_last(
    machine: Machine, new_page: NewPage, packages: Path, size: dict[str, int], colors: str
) -> None:
    axe = (packages / "node_modules/axe-core/axe.min.js").read_text()
    machine.installation.decisions[Phase.AGENT] = [REFUSAL]
    machine.installation.node.programs["agent"] = _held()
    async with machine.server() as server, new_page(server, viewport=size, color_scheme=colors) as page:
        await page.goto("/login")
        await _looks_right(page, axe)
        await log_in(page, server)
        await expect(page.get_by_role("heading", name="Nothing has been asked yet")).to_be_visible()
        await _looks_right(page, axe)
        await page.get_by_role("link", name="Give the first task").click()
        await _fill(page, server)
        preview = page.locator("#preview")
        line = "--command 'make fix' --detach 'Fix the test, it'\"'\"'s broken'"
        await expect(preview.get_by_text(line)).to_be_visible()
        await expect(preview.locator("li", has_text="agent")).to_contain_text("off")
        await _looks_right(page, axe)
        await page.get_by_role("button", name="Start the task").click()
        await page.locator("[data-kind=output]").scroll_into_view_if_needed()
        await expect(page.locator(".xterm-rows", has_text="working")).to_be_visible()
        await expect(page.locator("#phases li[aria-current]")).to_contain_text("agent")
        await _looks_right(page, axe)
        machine.installation.node.release_all()
        await expect(page.locator(".answer strong", has_text="fixed")).to_be_visible()
        assert await page.locator("#phases li.done").count() == len(Phase)
        await _looks_right(page, axe)
        for name in ("Changes", "Activity", "Network", "Details"):
            await page.get_by_role("navigation", name="Pages of this task").get_by_role("link", name=name).click()
            await _looks_right(page, axe)
        await page.get_by_role("navigation", name="Pages of this task").get_by_role("link", name="Changes").click()
        await page.get_by_role("link", name="Side by side").click()
        await expect(page.locator("td.minus", has_text="one")).to_be_visible()
        await page.get_by_role("link", name="Overview").click()
        await page.get_by_label("What should it do next?").fill("And the docs")
        await page.get_by_role("button", name="Send").click()
        await expect(page.get_by_role("link", name="Turn 2")).to_be_visible()
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.locator(".task-head .badge")).to_have_text("cancelled")
        await page.get_by_role("link", name="Tasks").first.click()
        await expect(page.locator(".tasks li")).to_contain_text("And the docs")
        await _looks_right(page, axe)
        elsewhere = await page.context.new_page()
        await elsewhere.goto("/")
        await elsewhere.get_by_role("button", name="Log out").click()
        await page.bring_to_front()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_a_task_by_keyboard_alone(server: Server, new_page: NewPage) -> None:
    async with new_page(server) as page:
        keys = page.keyboard
        await page.goto("/")
        await keys.type(await server.token(Role.MEMBER))
        await keys.press("Enter")
        await expect(page.get_by_role("heading", name="Nothing has been asked yet")).to_be_visible()
        await page.wait_for_load_state()
        await keys.press("?")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await keys.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await keys.press("n")
        await page.wait_for_url("/tasks/new")
        await keys.type("Fix it? n")
        for _ in range(4):
            await keys.press("Tab")
        await keys.type(server.repository)
        for _ in range(3):
            await keys.press("Tab")
        await keys.type("command")
        await keys.press("Tab")
        await keys.press("Tab")
        await keys.type("make fix")
        await keys.press("Control+Enter")
        await expect(page.get_by_role("heading", name="Fix it? n")).to_be_visible()
        await expect(page.get_by_role("heading", name="Answer")).to_be_visible()
        await page.wait_for_load_state()
        await keys.press("3")
        await page.wait_for_url("**/activity")
        await keys.press("1")
        await page.wait_for_url(lambda url: not url.endswith("activity"))
        await keys.press("f")
        await expect(page.get_by_label("What should it do next?")).to_be_focused()
        await keys.press("Escape")
        await keys.press("g")
        await keys.press("t")
        await page.wait_for_url("/")
        await keys.press("/")
        await expect(page.get_by_role("searchbox")).to_be_focused()
        await keys.press("Escape")
        await keys.press("j")
        await keys.press("Enter")
        await page.wait_for_url("/tasks/*")


async def test_a_task_without_scripts(server: Server, new_page: NewPage) -> None:
    async with new_page(server, java_script_enabled=False) as page:
        await log_in(page, server)
        await page.get_by_role("link", name="Give the first task").click()
        await _fill(page, server)
        await page.get_by_role("button", name="Start the task").click()
        with anyio.fail_after(60):
            await page.request.get(f"/api/v1{page.url.removeprefix(server.address)}/events")  # which ends with the task
        await page.reload()
        await expect(page.get_by_text("I fixed it.")).to_be_visible()
        assert await page.get_by_role("button", name="Copy").count() == 0, "what takes a script is not there"
        await page.get_by_role("link", name="Read the change").click()
        await expect(page.locator("tr.plus", has_text="two")).to_be_visible()


async def test_a_page_goes_on_when_its_server_comes_back(machine: Machine, new_page: NewPage) -> None:
    steps = [Print(data=b"working\n"), Hold(), Print(data=b"still there\n"), Hold()]
    machine.installation.node.programs["agent"] = Program(steps=steps, leaves={"/cloister/out/message.md": ANSWER})
    async with machine.server() as first, new_page(first) as page:
        await log_in(page, first)
        await page.goto("/tasks/new")
        await _fill(page, first)
        await page.get_by_role("button", name="Start the task").click()
        await page.locator("[data-kind=output]").scroll_into_view_if_needed()
        await expect(page.locator(".xterm-rows", has_text="working")).to_be_visible()
        await first.end()
        async with machine.server(port=first.port):
            machine.installation.node.release_all()
            await expect(page.locator(".xterm-rows")).to_contain_text("workingstill there")
            machine.installation.node.release_all()
            await expect(page.locator(".answer strong", has_text="fixed")).to_be_visible()
