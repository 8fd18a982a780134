"""Coming in, by a token or by a provider, leaving, and a session that ends while somebody writes."""

import pytest
from playwright.async_api import Page, expect

from cloister.model.token import Role

from ..unit.identity.provider import CLIENT_ID, CLIENT_SECRET, running
from ..unit.served.conftest import Machine, Server
from .conftest import PHONE, NewPage, log_in

pytestmark = pytest.mark.anyio


async def _end_all_sessions(server: Server) -> None:
    sessions = server.application.access.sessions
    for session in await sessions.list():
        await sessions.end(session.id)


async def _log_in_beside(page: Page, server: Server, role: Role) -> None:
    """Follow the way that the page shows, in a tab of its own."""
    async with page.context.expect_page() as opened:
        await page.get_by_role("alert").get_by_role("link", name="Log in").click()
    beside = await opened.value
    await beside.get_by_label("Token").fill(await server.token(role))
    await beside.get_by_role("button", name="Log in").click()
    await beside.wait_for_url(f"{server.address}/sessions")
    await beside.close()


async def test_what_was_written_outlives_the_session(machine: Machine, new_page: NewPage) -> None:
    async with machine.server(works=False) as server, new_page(server, viewport=PHONE) as page:
        await log_in(page, server, Role.ADMIN)
        await page.goto("/tasks/new")
        await page.get_by_label("What should be done?").fill("A long story")
        await page.get_by_label("Repository").fill(server.repository)
        await page.get_by_label("Agent", exact=True).select_option("command")
        await page.get_by_role("textbox", name="Command line").fill("make fix")
        await _end_all_sessions(server)
        await page.get_by_role("button", name="Start the task").click()
        await expect(page.get_by_role("alert")).to_contain_text("Your session is over")
        await _log_in_beside(page, server, Role.ADMIN)
        await page.get_by_role("button", name="Start the task").click()
        await expect(page.get_by_role("heading", name="A long story")).to_be_visible()
        await page.goto("/environments/-/new")
        await page.locator("#name").fill("shop")
        await _end_all_sessions(server)
        await page.locator("#f-image").fill("mine")
        await expect(page.get_by_role("alert")).to_contain_text("Your session is over")
        await _log_in_beside(page, server, Role.MEMBER)
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("logged in as MEMBER now")
        await expect(page.locator("#f-image")).to_have_value("mine")
        await server.end()
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("nothing was sent")).to_be_visible()
        await expect(page.locator("#f-image")).to_have_value("mine")


async def test_a_person_comes_by_a_provider_and_leaves(machine: Machine, new_page: NewPage) -> None:
    with running() as provider:
        provider.discovery = {"end_session_endpoint": f"{provider.issuer}/end"}
        known = {"issuer": provider.issuer, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        settings = {"oidc": {**known, "members": ["developers"]}}
        async with machine.server(works=False, **settings) as server, new_page(server, viewport=PHONE) as page:
            await page.goto("/dashboard?span=day")
            await page.get_by_role("link", name="Log in by your provider").press("Enter")
            await page.wait_for_url(f"{server.address}/dashboard?span=day")
            await page.get_by_text("Menu", exact=True).click()
            assert "ann" in (await page.locator(".who").text_content() or "")
            await page.get_by_role("button", name="Log out").press("Enter")
            await expect(page.get_by_role("link", name="Log out there too")).to_be_visible()
            await page.goto("/dashboard")
            await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
            provider.claims = {"groups": ["guests"]}
            await page.get_by_role("link", name="Log in by your provider").click()
            await expect(page.get_by_role("alert")).to_be_visible()
