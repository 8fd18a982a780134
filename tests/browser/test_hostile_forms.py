"""What branches, detection, files, TOML and other editors say, full of script, in every form: nothing rings."""

from collections.abc import Sequence
from urllib.parse import quote

import pytest
from markupsafe import Markup
from playwright.async_api import expect

from cloister.agents.check import CheckAgent
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentName, EnvironmentText, Request
from cloister.model.secret import BrokerRule
from cloister.model.task import CHECK
from cloister.model.token import Role
from cloister.web import page as pages

from ..unit.cli import conftest
from ..unit.cli.conftest import Installation
from ..unit.served.conftest import Server
from .conftest import NewPage, log_in
from .test_forms import GIVE
from .test_hostile import BRANCH, CORPUS, ENVIRONMENT, HOSTILE, OUTCOME, PATH, RING, hostile_events

pytestmark = pytest.mark.anyio

LABEL = CORPUS[1]
WORKFLOW = f"""\
jobs:
  copilot-setup-steps:
    runs-on: '{LABEL}'
    env: {{ '{LABEL}': '{LABEL}' }}
    steps:
      - uses: '{LABEL}'
      - run: "make '{LABEL}'"
"""
QUERY = quote(CORPUS[2])


@pytest.fixture(autouse=True)
def with_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "AGENTS", (*conftest.AGENTS, CheckAgent()))


async def _hostile_places(server: Server, installation: Installation) -> list[str]:
    """Return the addresses of pages in which all that others can write is hostile."""
    project, intake = installation.project, server.application.intake
    (project / ".github/workflows").mkdir(parents=True)
    (project / ".github/workflows/copilot-setup-steps.yml").write_text(WORKFLOW)
    (project / PATH.replace("/", "")).mkdir()
    (project / PATH.replace("/", "") / "requirements.txt").write_text("six\n")
    installation.git("add", ".")
    installation.git("commit", "--quiet", "--message=two")
    installation.git("branch", BRANCH)
    installation.git("update-server-info")
    await intake.environments.create("web", EnvironmentText(source=HOSTILE, raw=ENVIRONMENT.encode()))
    rule = BrokerRule(hosts=("api.example.com",), header="X-Key", format="{} " + LABEL)
    await intake.set_secret("web", "KEY", "hunter2", rule)
    asked = Request(repository=server.repository, prompt=HOSTILE, agent=CHECK, environment=EnvironmentName(name="web"))
    task = await intake.submit(asked)
    attempt = await intake.queue.claim()
    assert attempt is not None
    for phase in Phase:
        await intake.queue.record(attempt, phase, *hostile_events())
    await intake.queue.finish(attempt, OUTCOME)
    repository = quote(server.repository)
    return [
        "/environments/web?secret=KEY",
        "/environments/web/edit",
        f"/environments/web/check/{task.id}",
        f"/environments/web/check?repository={QUERY}",
        f"/environments/web/why?repository={repository}&ref={QUERY}",
        f"/environments/-/import?repository={repository}",
        f"/tasks/new?repository={repository}&ref={QUERY}&patch={QUERY}&model={QUERY}&image_names={QUERY}",
    ]


async def _rings(
    new_page: NewPage, server: Server, addresses: Sequence[str], complaints: list[str] | None
) -> list[str]:
    """Look at these pages as an admin, and return where a script ran."""
    rang = []
    async with new_page(server, complaints=complaints, bypass_csp=True) as page:
        await page.add_init_script(RING)
        await log_in(page, server, Role.ADMIN)
        for address in addresses:
            await page.goto(address)
            await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
            await page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
            if await page.evaluate("window.rang"):
                rang.append(address)
    return rang


async def test_no_form_rings_even_where_scripts_may_run(
    server_without_worker: Server, installation: Installation, new_page: NewPage
) -> None:
    server = server_without_worker
    addresses = await _hostile_places(server, installation)
    assert await _rings(new_page, server, addresses, None) == []
    async with new_page(server, bypass_csp=True) as page:
        await page.add_init_script(RING)
        await log_in(page, server, Role.ADMIN)
        await page.goto(f"/tasks/new?repository={quote(server.repository)}&ref={quote(BRANCH)}")
        await expect(page.locator("#branches option")).to_have_count(2)
        await page.evaluate(GIVE, ["drop", LABEL, "image/png", [1]])
        await page.get_by_label("What should be done?").fill(HOSTILE)
        await page.get_by_text("How it reads").click()
        await expect(page.locator("#markdown")).to_contain_text(LABEL)
        await expect(page.locator("[data-command-line] code")).to_contain_text(f"--image '{LABEL}'")
        await expect(page.locator(".given-list li")).to_contain_text(LABEL)
        await expect(page.locator("#preview")).to_contain_text(BRANCH)
        await page.goto(f"/environments/-/import?repository={quote(server.repository)}")
        await expect(page.locator(".notes")).to_contain_text(LABEL)
        await expect(page.locator("[aria-labelledby=h-detected]")).to_contain_text(PATH.replace("/", ""))
        await page.goto("/environments/web/edit")
        await page.locator("#text").fill(f"\"{LABEL}\" = 1\nimage = '{LABEL}'\n[checks]\n'{LABEL}' = '{LABEL}'\n")
        await expect(page.locator("#check [role=alert]")).to_contain_text(f"unknown key `{LABEL}`")
        await expect(page.locator("#f-image")).to_have_value(LABEL)
        await expect(page.locator("#f-checks-0")).to_have_value(LABEL)
        await server.application.intake.environments.edit(
            "web", EnvironmentText(source=HOSTILE, raw=ENVIRONMENT.replace("[setup]", f"# {LABEL}\n[setup]").encode())
        )
        await page.locator("#text").fill("image = 'mine'\n")
        await expect(page.locator("#f-image")).to_have_value("mine")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator(".terminal", has_text=f"+# {LABEL}")).to_be_visible()
        assert await page.evaluate("window.rang") is None


async def test_without_escaping_the_forms_would_have_rung(
    server_without_worker: Server, installation: Installation, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    careless = pages._templates().overlay(autoescape=False, finalize=str)
    careless.filters = {**careless.filters, "markdown": Markup}
    monkeypatch.setattr(pages, "_templates", lambda: careless)
    addresses = await _hostile_places(server_without_worker, installation)
    assert await _rings(new_page, server_without_worker, addresses, []) == addresses
