"""A change is read, however long it is, and proposed: with a mouse, by keyboard, with a finger."""

from functools import partial
from pathlib import Path

import anyio
import pytest
from playwright.async_api import expect

from cloister.sandboxes.fake import Hold, Print, Program
from cloister.testing.github.server import serve_github

from ..unit.served.conftest import Machine
from .conftest import PHONE, NewPage, log_in
from .test_task_page import looks_right

pytestmark = pytest.mark.anyio

TOKEN = "ghp_0123456789abcdefghij"
LONG = 100_000
FILES = 60


def _new_file(path: str, lines: list[str]) -> bytes:
    head = (
        f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{len(lines)} @@\n"
    )
    return (head + "".join(f"+{line}\n" for line in lines)).encode()


async def test_a_change_of_many_files_and_lines_is_read_in_parts(
    machine: Machine, new_page: NewPage, packages: Path
) -> None:
    diff = _new_file("long.txt", [f"line {number}" for number in range(1, LONG + 1)])
    diff += b"".join(_new_file(f"src/part{number % 5}/file{number}.py", [f"x = {number}"]) for number in range(FILES))
    machine.installation.node.diff = diff
    async with (
        machine.server() as server,
        new_page(server, viewport=PHONE, has_touch=True, is_mobile=True) as page,
    ):
        await log_in(page, server)
        task = await server.application.intake.submit(server.request())
        await page.goto(f"/tasks/{task.id}")
        await page.get_by_role("link", name="Read the change").tap()
        tree = page.get_by_role("navigation", name="Files")
        await expect(tree.locator("summary", has_text="part3/")).to_be_visible()
        await tree.locator("a", has_text="file33.py").tap()
        await expect(page.locator("tr.plus", has_text="x = 33")).to_be_in_viewport()
        await looks_right(page, packages)
        await page.get_by_role("link", name=f"Show {LONG} changed lines").tap()
        await expect(page.locator("tr.plus", has_text="line 999")).to_have_count(1)
        assert await page.locator("*").count() < 10_000, "one part of it is on the page"
        await page.get_by_role("link", name="more rows").press("Enter")
        await expect(page.locator("tr.plus").last).to_contain_text("line 1999")
        await page.get_by_role("link", name="The last ones").tap()
        await expect(page.locator("tr.plus").last).to_contain_text(f"line {LONG}")
        await page.get_by_role("link", name="Rows before").tap()
        await expect(page.locator("tr.plus").last).to_contain_text(f"line {LONG - 1}")
        await expect(page.get_by_role("link", name="1 more rows")).to_be_visible()
        await looks_right(page, packages)


async def test_a_pull_request_is_opened_and_looked_at(
    machine: Machine, new_page: NewPage, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.installation.node.programs["agent"] = Program(steps=[Hold(), Print(data=b"late\n")])
    with serve_github(tmp_path / "forge") as github:
        shop = github.accounts.add("team/shop", writers=["ann"])
        github.accounts.add_token(TOKEN, "ann")
        machine.installation.git("push", "--quiet", str(shop.path), "main")
        shop.follow_branches()
        monkeypatch.setenv("CLOISTER_GITHUB_URL", github.url)
        command = partial(machine.installation.run, "github", "set-token", stdin=TOKEN)
        assert (await anyio.to_thread.run_sync(command)).exit_code == 0
        async with machine.server(github={"url": github.url}) as server, new_page(server) as page:
            await log_in(page, server)
            request = server.request(repository=f"{github.url}/team/shop", guarded=False)
            task = await server.application.intake.submit(request)
            await page.goto(f"/tasks/{task.id}")
            silence = page.get_by_text("Nothing has been printed yet.")
            await expect(silence).to_be_visible()
            await expect(page.locator("[data-screen]").first).to_be_hidden()
            machine.installation.node.release_all()
            await page.get_by_label("As a draft").check()
            await page.get_by_role("button", name="Open a pull request").press("Enter")
            section = page.get_by_role("region", name="Pull request")
            await expect(section.locator(".badge")).to_have_text("draft")
            await looks_right(page, packages)
            (pull,) = shop.pulls.values()
            assert pull.draft
        pull.draft, pull.state = False, "closed"
        async with machine.server(github={"url": github.url}) as server, new_page(server) as page:
            await log_in(page, server)
            await page.goto(f"/tasks/{task.id}")
            await expect(page.get_by_role("region", name="Pull request").locator(".badge")).to_have_text("closed")
            github.check()
