"""A notification on its whole way: asked for on the page, sent by the server, shown by the browser.

A browser's own push service is elsewhere. One of ours is in its place, which opens what it gets as a browser does.
"""

import json
from typing import Any

import anyio
import pytest
from playwright.async_api import Page, expect

from ..unit.served.conftest import Machine
from ..unit.served.test_notifications import PushService, at_once, service, telling, trust
from .conftest import PHONE, NewPage, log_in

__all__ = ["at_once", "service"]

pytestmark = pytest.mark.anyio

SUBSCRIBE = """(device) => {
  const made = { unsubscribe: async () => true, toJSON: () => ({ endpoint: device.endpoint, keys: device }) };
  PushManager.prototype.subscribe = async () => made;
}"""


async def _deliver(page: Page, address: str, told: dict[str, str]) -> list[str]:
    """Let the browser get what its push service would have handed on, and return what it shows."""
    tools = await page.context.new_cdp_session(page)
    registered: list[str] = []

    def note(said: Any) -> None:
        registered.extend(each["registrationId"] for each in said["registrations"])

    tools.on("ServiceWorker.workerRegistrationUpdated", note)
    await tools.send("ServiceWorker.enable")
    await page.evaluate("navigator.serviceWorker.ready")
    with anyio.fail_after(60):
        while not registered:  # noqa: ASYNC110
            await anyio.sleep(0.05)
    message = {"origin": address, "registrationId": registered[0], "data": json.dumps(told)}
    await tools.send("ServiceWorker.deliverPushMessage", message)
    shown: list[str] = await page.evaluate(
        """async () => {
            const registration = await navigator.serviceWorker.ready;
            for (;;) {
                const all = await registration.getNotifications();
                if (all.length) return [all[0].title, all[0].body, all[0].data.path];
                await new Promise((done) => setTimeout(done, 50));
            }
        }"""
    )
    return shown


async def test_a_device_is_added_told_and_forgotten(machine: Machine, new_page: NewPage, service: PushService) -> None:
    async with machine.server() as server, new_page(server, viewport=PHONE) as page, telling(server):
        trust(server, service)
        await log_in(page, server)
        await page.context.grant_permissions(["notifications"], origin=server.address)
        add = page.get_by_role("button", name="Notify me on this device")
        await page.goto("/notifications")
        await page.evaluate("() => { PushManager.prototype.subscribe = async () => { throw new Error('no way'); }; }")
        await add.click()
        await expect(page.locator("[data-device-said]")).to_contain_text("was not reached")
        await page.evaluate(SUBSCRIBE, service.device("phone"))
        await add.click()
        await expect(page.locator("[data-receiver]")).to_have_count(1)
        test = page.get_by_role("button", name="Test", exact=False).last
        service.answers = [429]
        await test.click()
        await expect(page.get_by_role("status").first).to_contain_text("status 429, too many at once")
        service.got.clear()
        service.answers = [429]  # it is tried again
        task = await server.application.intake.submit(server.request(), asked_by="MEMBER")
        with anyio.fail_after(60):
            while len(service.got) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.05)
        told = service.opened()[1]
        assert await _deliver(page, server.address, told) == [told["title"], told["body"], f"/tasks/{task.id}"]
        service.answers = [410]
        await page.goto("/notifications")
        await test.click()
        await expect(page.get_by_role("status").first).to_contain_text("it was forgotten")
        await expect(page.locator("[data-receiver]")).to_have_count(0)
