"""What is alive on the page of a task: its terminal, a shell, a recording, comments on lines; by keyboard too."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from cloister.sandboxes.fake import Hold, Print, Program
from cloister.web.diff_view import files_of

from ..unit.served.conftest import Machine, Server
from .conftest import DESKTOP, PHONE, NewPage, log_in

pytestmark = pytest.mark.anyio


async def _give(page: Page, server: Server) -> str:
    """Give a task, look at its page, and return its id."""
    task = await server.application.intake.submit(server.request())
    await page.goto(f"/tasks/{task.id}")
    return task.id


async def looks_right(page: Page, packages: Path) -> None:
    """Nothing is wider than the screen, and no serious rule of WCAG is broken."""
    assert not await page.evaluate("document.documentElement.scrollWidth > innerWidth"), page.url
    await page.evaluate((packages / "node_modules/axe-core/axe.min.js").read_text())
    found: dict[str, Any] = await page.evaluate("axe.run({resultTypes: ['violations']})")
    bad = [
        (it["id"], [(node["target"], node["failureSummary"]) for node in it["nodes"]])
        for it in found["violations"]
        if it["impact"] in ("serious", "critical")
    ]
    assert bad == [], page.url


ON_A_PHONE = {"viewport": PHONE, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("screen_of", [{"viewport": DESKTOP}, ON_A_PHONE], ids=["desktop", "phone"])
async def test_a_task_is_watched_entered_and_played_again(
    machine: Machine, new_page: NewPage, packages: Path, screen_of: dict[str, Any]
) -> None:
    is_phone = screen_of is ON_A_PHONE
    colors = b"\x1b[31mred\x1b[0m \x1b[38;2;10;200;10mtrue\x1b[0m\n"
    machine.installation.node.programs["agent"] = Program(steps=[Print(data=colors), Hold(), Print(data=b"done\n")])
    async with machine.server() as server, new_page(server, **screen_of) as page:
        await log_in(page, server)
        await _give(page, server)
        screen = page.get_by_role("region", name="Terminal: what programs print")
        await expect(page.locator(".task-head .badge")).to_have_text("running")
        await page.locator("[data-kind=output]").scroll_into_view_if_needed()  # what nobody sees is not drawn
        await expect(screen.locator(".xterm-rows")).to_contain_text("red true")
        red = screen.locator(".xterm-rows span", has_text="red")
        assert await red.evaluate("it => getComputedStyle(it).color") != await screen.evaluate(
            "it => getComputedStyle(it.querySelector('.xterm-rows')).color"
        ), "the widget's own styles apply"
        await looks_right(page, packages)
        await screen.locator("textarea").focus()
        await page.keyboard.press("Tab")
        await expect(screen.locator("textarea")).not_to_be_focused()
        opener = page.get_by_role("button", name="Open a shell")
        await (opener.tap() if is_phone else opener.press("Enter"))
        shell = page.get_by_role("region", name="Terminal: a shell in the sandbox")
        await expect(shell.locator("textarea")).to_be_focused()
        await page.keyboard.type("echo hello")
        await expect(shell.locator(".xterm-rows")).to_contain_text("echo hello")
        await page.keyboard.press("Control+Shift+Escape")
        await expect(page.get_by_role("button", name="Close the shell")).to_be_focused()
        await shell.locator("textarea").focus()
        await looks_right(page, packages)
        if is_phone:
            await page.get_by_role("button", name="Tab").tap()
            await expect(shell.locator("textarea")).to_be_focused()
        else:
            await expect(page.get_by_role("button", name="Tab")).to_be_hidden()
        await page.keyboard.type("\nexit\n")
        await expect(page.get_by_text("The shell ended with status 0.")).to_be_visible()
        machine.installation.node.release_all()
        await expect(page.get_by_role("heading", name="Answer")).to_be_visible()
        await page.get_by_role("link", name="Activity").click()
        await page.get_by_role("link", name="Play the recording").click()
        await page.locator("[data-length]").wait_for()
        play = page.get_by_role("button", name="Play", exact=True)
        await (play.tap() if is_phone else play.press("Space"))
        await expect(page.locator(".xterm-rows")).to_contain_text("done")
        await expect(play).to_be_visible()
        position = page.get_by_label("Position")
        at_the_end = await position.input_value()
        await play.press("ArrowLeft")
        assert await position.input_value() != at_the_end
        await looks_right(page, packages)


async def test_lines_are_commented_on_by_keyboard_and_sent_together(
    machine: Machine, new_page: NewPage, packages: Path
) -> None:
    async with machine.server() as server, new_page(server) as page:
        await log_in(page, server)
        task = await _give(page, server)
        await expect(page.get_by_role("heading", name="Answer")).to_be_visible()
        await page.get_by_role("link", name="Read the change").click()
        await page.locator("#review[data-ready]").wait_for(state="attached")
        keys = page.keyboard
        await page.locator("[data-lines]").first.focus()
        await keys.press("ArrowDown")
        await keys.press("ArrowDown")
        await keys.press("c")
        await keys.type("Say it <b>otherwise</b>")
        await keys.press("Control+Enter")
        await expect(page.locator("#review")).to_contain_text("sent as a follow-up: 1")
        await expect(page.locator("[data-lines]").first).to_be_focused()
        await page.reload()
        await expect(page.locator(".said-of-line")).to_have_text("Say it <b>otherwise</b>")
        await looks_right(page, packages)
        await page.get_by_label("Anything about the whole change?").fill("Thank you")
        await keys.press("Control+Enter")
        await expect(page.get_by_role("link", name="Turn 2")).to_be_visible()
        asked = (await server.application.intake.task(task)).last_turn.prompt
        path = files_of((await server.application.intake.results.change(task, turn=1)).diff)[0].path
        assert asked.startswith(f"Comments on the change of {path}:\n\n`{path}:")
        assert "`\n\n    " in asked, "the line is code, whatever Markdown would make of it"
        assert asked.endswith("\n\nSay it <b>otherwise</b>\n\nThank you")


async def test_a_page_says_when_its_task_is_gone_and_when_its_session_is_over(
    machine: Machine, new_page: NewPage
) -> None:
    machine.installation.node.programs["agent"] = Program(steps=[Print(data=b"working\n"), Hold()])
    async with machine.server() as server, new_page(server) as page:
        await log_in(page, server)
        await _give(page, server)
        await page.get_by_role("button", name="Open a shell").click()
        await expect(
            page.get_by_role("region", name="Terminal: a shell in the sandbox").locator("textarea")
        ).to_be_focused()
        (session,) = await server.application.access.sessions.list()
        await server.application.access.sessions.end(session.id)
        await page.keyboard.type("x")
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    async with machine.server(works=False) as server, new_page(server) as page:
        await log_in(page, server)
        await _give(page, server)
        await expect(page.get_by_text("It waits for a worker.")).to_be_visible()
        with sqlite3.connect(machine.installation.state / "cloister.db", timeout=60) as database:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("DELETE FROM tasks")
        await expect(page.get_by_text("there is no task")).to_be_visible()
