"""The pages beside tasks and environments: on two screens, by keyboard, without scripts, and full of hostile words."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from markupsafe import Markup
from playwright.async_api import Page, expect

from cloister.model.audit import AuditEntry
from cloister.model.image import Image
from cloister.model.notification import Occasion, Receiver, ReceiverId, ReceiverKind
from cloister.model.pack import ListedAgent
from cloister.model.sandbox import ImageDigest
from cloister.model.schedule import Missed, Schedule, ScheduledRequest
from cloister.model.task import AttemptId, TaskId
from cloister.model.token import Role
from cloister.model.webhook import Delivery, DeliveryId, Webhook, WebhookId
from cloister.model.worker import Worker
from cloister.web import page as pages

from ..unit.cli.conftest import Installation
from ..unit.served.conftest import Server
from .conftest import PHONE, NewPage, log_in
from .test_flows import _looks_right
from .test_hostile import HOSTILE, RING, _hostile_task

pytestmark = pytest.mark.anyio

PAGES = (
    "/dashboard",
    "/images",
    "/agents",
    "/workers",
    "/schedules",
    "/notifications",
    "/sessions",
    "/tokens",
    "/webhooks",
    "/audit",
    "/settings",
    "/help",
)


async def test_the_menu_leads_to_each_page_on_a_phone(server: Server, new_page: NewPage, packages: Path) -> None:
    async with new_page(server, viewport=PHONE, color_scheme="dark") as page:
        await log_in(page, server, Role.ADMIN)
        menu = page.get_by_role("navigation", name="All pages")
        for address in PAGES:
            await page.locator("[data-menu] > summary").click()
            await menu.locator(f'a[href="{address}"]').click()
            await page.wait_for_url(address)
            await expect(page.locator("h1")).to_be_visible()
        await page.locator("[data-menu] > summary").click()
        await _looks_right(page, (packages / "node_modules/axe-core/axe.min.js").read_text())
        await page.keyboard.press("Escape")
        await expect(menu).to_be_hidden()


async def test_a_token_is_made_and_revoked_by_keyboard_and_shortcuts_lead_everywhere(
    server: Server, new_page: NewPage
) -> None:
    async with new_page(server) as page:
        await log_in(page, server, Role.ADMIN)
        keys = page.keyboard
        for letter, address in (("d", "/dashboard"), ("w", "/workers"), ("i", "/images"), ("n", "/notifications")):
            await keys.press("g")
            await keys.press(letter)
            await page.wait_for_url(address)
        await keys.press("g")
        await keys.press("m")
        await expect(page.locator("[data-menu] nav a").first).to_be_focused()
        await page.locator('[data-menu] a[href="/tokens"]').focus()
        await keys.press("Enter")
        await page.wait_for_url("/tokens")
        await page.get_by_label("Whose it is").focus()
        await keys.type("nightly")
        await keys.press("Enter")
        await expect(page.get_by_role("heading", name="The token of nightly, shown this once")).to_be_visible()
        revoke = page.get_by_role("button", name="Revoke the token nightly")
        await revoke.focus()
        await keys.press("Enter")
        await expect(revoke).to_be_hidden()
        await keys.press("?")
        listed = {text.replace("\n", "") for text in await page.locator("dialog .keys dt").all_inner_texts()}
        assert {"?", "g t", "g d", "n", "/", "j k", "f"} <= listed


async def test_an_image_is_built_and_a_session_ended_without_scripts(server: Server, new_page: NewPage) -> None:
    async with server.as_owner() as owner:
        await owner.wait((await owner.submit(server.request())).id)
    async with new_page(server, java_script_enabled=False) as page:
        await log_in(page, server, Role.ADMIN)
        await page.get_by_text("Menu", exact=True).click()
        await page.get_by_role("link", name="Images").click()
        await page.get_by_role("button", name="Build it").click()
        await expect(page.get_by_text("base is built")).to_be_visible()
        await page.get_by_role("link", name="Go on").click()
        await page.wait_for_url("/images")
        await page.goto("/dashboard")
        await page.locator("summary", has_text="As a table").first.click()
        await expect(page.get_by_role("region", name="Tasks as a table")).to_be_visible()
        await page.goto("/sessions")
        await page.get_by_role("button", name="End it").click()
        await expect(page.get_by_role("heading", name="Log in")).to_be_visible()


async def test_what_is_pushed_is_shown_and_leads_to_its_task(server: Server, new_page: NewPage) -> None:
    """The browser's own push service is elsewhere: its developer tools deliver in its place."""
    async with new_page(server) as page:
        await log_in(page, server, Role.MEMBER)
        await page.context.grant_permissions(["notifications"], origin=server.address)
        await page.goto("/notifications")
        await expect(page.get_by_role("button", name="Notify me on this device")).to_be_visible()
        tools = await page.context.new_cdp_session(page)
        registered: list[str] = []

        def note(told: Any) -> None:
            registered.extend(each["registrationId"] for each in told["registrations"])

        tools.on("ServiceWorker.workerRegistrationUpdated", note)
        await tools.send("ServiceWorker.enable")
        await page.evaluate("navigator.serviceWorker.ready")
        with anyio.fail_after(60):
            while not registered:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        for data in ('{"title": "<b>Done</b>", "body": "web", "path": "/tasks/t1"}', '{"path": "//evil.example"}', "?"):
            told = {"origin": server.address, "registrationId": registered[0], "data": data}
            await tools.send("ServiceWorker.deliverPushMessage", told)
        shown = await page.evaluate(
            """async () => {
                const registration = await navigator.serviceWorker.ready;
                for (;;) {
                    const all = await registration.getNotifications();
                    if (all.length >= 2) return all.map((each) => [each.title, each.body, each.data.path]);
                    await new Promise((done) => setTimeout(done, 50));
                }
            }"""
        )
        assert ["<b>Done</b>", "web", "/tasks/t1"] in shown
        assert ["Cloister", "", "/"] in shown, "what leads elsewhere, or cannot be read, leads to the first page"


HOSTILE_PAGES = [
    "/dashboard",
    "/images",
    "/agents",
    "/workers",
    "/notifications",
    "/tokens",
    "/webhooks",
    "/webhooks/h",
    "/schedules",
    "/schedules/h",
    "/audit",
]


async def _hostile_fleet(server: Server, installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that these pages show be hostile, for the admin who has logged in last."""
    await _hostile_task(server, installation)
    access, automation = server.application.access, server.application.automation
    now = datetime.now(UTC)
    await access.tokens.create("<img src=x onerror=ring()>", Role.VIEWER)
    await access.users.store.note(HOSTILE, HOSTILE, name=HOSTILE, role=Role.VIEWER, at=now)
    await access.audit.store.add(
        AuditEntry(
            at=now,
            who=HOSTILE,
            by=HOSTILE,
            role=HOSTILE,
            address=HOSTILE,
            method=HOSTILE,
            path=HOSTILE,
            action=HOSTILE,
            about={HOSTILE: HOSTILE},
            fields=(HOSTILE,),
            status=403,
        )
    )
    hook = Webhook(
        id=WebhookId("h"),
        url=HOSTILE,
        events=(HOSTILE,),
        created_at=now,
        created_by=HOSTILE,
        reason=HOSTILE,
        paused=True,
    )
    await automation.webhooks.store.add(hook)
    await automation.webhooks.store.keep(
        Delivery(
            id=DeliveryId(HOSTILE),
            webhook=hook.id,
            event=HOSTILE,
            task=TaskId(HOSTILE),
            seq=1,
            created_at=now,
            error=HOSTILE,
        )
    )
    await automation.schedules.store.add(
        Schedule(
            name="h",
            cron=HOSTILE,
            timezone=HOSTILE,
            missed=Missed.ONCE,
            created_at=now,
            created_by=HOSTILE,
            next_at=now,
            request=ScheduledRequest(repository=HOSTILE, prompt=HOSTILE, ref=HOSTILE),
        )
    )
    holder = next(f"token {token.id}" for token in await access.tokens.list() if token.name == "ADMIN")
    await automation.notifications.store.add(
        Receiver(
            id=ReceiverId("r"),
            holder=holder,
            kind=ReceiverKind.WEBHOOK,
            label=HOSTILE,
            digest="d",
            occasions=(Occasion.ASKS,),
            everybody=True,
            created_at=now,
            error=HOSTILE,
        )
    )
    image = Image(
        name=HOSTILE, digest=ImageDigest("d" * 64), created_at=now - timedelta(days=1), size_bytes=1, packages={}
    )
    agent = ListedAgent(
        agent=HOSTILE,
        installed=HOSTILE,
        digest="d",
        size_bytes=1,
        installed_at=now,
        known=HOSTILE,
        api=HOSTILE,
        needs=HOSTILE,
    )

    async def images(_: object) -> Sequence[Image]:
        return [image]

    async def agents(_: object) -> Sequence[ListedAgent]:
        return [agent]

    async def workers(_: object) -> Sequence[Worker]:
        return [Worker(name=HOSTILE, attempts=(AttemptId(f"{HOSTILE}-1-1"),))]

    monkeypatch.setattr(type(server.application.intake.images), "list", images)
    monkeypatch.setattr(type(server.application.intake.stock), "list_agents", agents)
    monkeypatch.setattr(type(server.application.intake.queue), "workers", workers)


async def _rang(page: Page, server: Server, prepare: Callable[[], Awaitable[None]]) -> list[str]:
    """Log in, prepare, look at these pages, and return where a script ran."""
    await page.add_init_script(RING)
    await log_in(page, server, Role.ADMIN)
    await prepare()
    rang = []
    for address in HOSTILE_PAGES:
        await page.goto(address)
        await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        await page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        if await page.evaluate("window.rang"):
            rang.append(address)
    return rang


async def test_no_page_of_the_fleet_rings(
    server_without_worker: Server, installation: Installation, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_without_worker
    async with new_page(server, bypass_csp=True) as page:
        prepare = partial(_hostile_fleet, server, installation, monkeypatch)
        assert await _rang(page, server, prepare) == []
        for address in HOSTILE_PAGES:
            await page.goto(address)
            assert "onerror=ring()" in await page.content(), f"{address} shows it, as what it is"


async def test_without_escaping_each_would_have_rung(
    server_without_worker: Server, installation: Installation, new_page: NewPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin of the above."""
    server = server_without_worker
    careless = pages._templates().overlay(autoescape=False, finalize=str)
    careless.filters = {**careless.filters, "markdown": Markup}

    async def prepare() -> None:
        await _hostile_fleet(server, installation, monkeypatch)
        monkeypatch.setattr(pages, "_templates", lambda: careless)

    async with new_page(server, complaints=[], bypass_csp=True) as page:
        assert await _rang(page, server, prepare) == HOSTILE_PAGES
