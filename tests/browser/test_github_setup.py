"""A person makes an app at the forge with a real browser, which has rules of its own for forms and redirects."""

from pathlib import Path
from urllib.parse import quote

import anyio
import anyio.to_thread
import pytest
from playwright.async_api import Browser, expect

from cloister.cli.github_setup import Listener, page_of, read_answer
from cloister.forges.github.app import manifest_of
from cloister.model.forge import AppManifest
from cloister.testing.github.server import GitHub, serve_github

pytestmark = pytest.mark.anyio

STATE = "the-state-of-this-test"


def _manifest(github: GitHub, redirect: str) -> AppManifest:
    return manifest_of(
        github.url, name="cloister", organization="team", redirect=redirect, webhook=None, workflows=False
    )


async def test_a_browser_makes_the_app_and_comes_back(chromium: Browser, tmp_path: Path) -> None:
    with serve_github(tmp_path / "forge") as github, Listener(STATE) as listener:
        listener.page = page_of(_manifest(github, f"{listener.address}/made"), STATE)
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, listener.wait)
            page = await chromium.new_page()
            await page.goto(f"{listener.address}{listener.path}")
            await page.get_by_role("button", name="Go to GitHub").click()
            await page.get_by_label("GitHub App name").fill("cloister-of-team")
            await page.get_by_role("button", name="Create GitHub App for team").click()
            await expect(page.get_by_text("GitHub made the app. Go on in the terminal.")).to_be_visible()
            await page.close()
        made = github.manifests.convert(str(listener.code))
        assert made is not None
        assert made["slug"] == "cloister-of-team"
        github.check()


async def test_a_line_that_was_pasted_into_a_browser_elsewhere_does_it_too(chromium: Browser, tmp_path: Path) -> None:
    with serve_github(tmp_path / "forge") as github:
        page = await chromium.new_page()
        ended_at: list[str] = []
        page.on("requestfailed", lambda request: ended_at.append(request.url))
        form = page_of(_manifest(github, "http://127.0.0.1:9/made"), STATE)
        await page.goto(f"data:text/html;charset=utf-8,{quote(form)}")
        await page.get_by_role("button", name="Go to GitHub").click()
        await page.get_by_role("button", name="Create GitHub App for team").click()
        while not ended_at:  # noqa: ASYNC110  # of another process
            await anyio.sleep(0.05)
        await page.close()
        assert github.manifests.convert(read_answer(ended_at[0], STATE)) is not None
        github.check()
