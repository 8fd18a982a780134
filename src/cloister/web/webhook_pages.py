"""Webhooks of the installation: which programs are told of what happens, and what came of that."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Admin
from cloister.api.front import KnownAutomation
from cloister.automation import Automation
from cloister.errors import CloisterError
from cloister.model.webhook import EVENTS
from cloister.web.page import PageRoute, render, render_form

_DELIVERIES_SHOWN = 20

router = APIRouter(
    prefix="/webhooks",
    tags=["webhooks"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)

Id = Annotated[str, Form()]


@router.get("")
async def show(request: Request, automation: KnownAutomation, _: Admin) -> Response:
    """Show all webhooks, and the form for another."""
    return await _page(request, automation)


@router.post("", name="create")
async def create(
    request: Request,
    automation: KnownAutomation,
    caller: Admin,
    url: Annotated[str, Form()],
    events: Annotated[list[str], Form()] = [],  # noqa: B006  # nobody changes it
) -> Response:
    """Keep a webhook, and show this once what its messages are signed with."""
    try:
        about, secret = await automation.webhooks.create(url.strip(), events, created_by=caller.name)
    except CloisterError as error:
        return await _page(request, automation, error=error, url=url, chosen=events)
    return await _page(request, automation, made=about.url, secret=secret)


@router.post("/rotate", name="rotate")
async def rotate(request: Request, automation: KnownAutomation, _: Admin, webhook: Id) -> Response:
    """Replace what the messages are signed with, and show it this once."""
    about = await automation.webhooks.get(webhook)
    return await _page(request, automation, made=about.url, secret=await automation.webhooks.rotate(webhook))


@router.post("/pause", name="pause")
async def pause(automation: KnownAutomation, _: Admin, webhook: Id, paused: Annotated[bool, Form()]) -> Response:
    """Let its messages wait, or send them again."""
    await automation.webhooks.pause(webhook, paused=paused)
    return RedirectResponse("/webhooks", 303)


@router.post("/test", name="test")
async def test(automation: KnownAutomation, _: Admin, webhook: Id) -> Response:
    """Send a message that tells of nothing; what came of it is on its page."""
    await automation.webhooks.test(webhook)
    return RedirectResponse(f"/webhooks/{webhook}", 303)


@router.post("/remove", name="remove")
async def remove(automation: KnownAutomation, _: Admin, webhook: Id) -> Response:
    """Forget it, its secret and its messages."""
    await automation.webhooks.remove(webhook)
    return RedirectResponse("/webhooks", 303)


@router.get("/{webhook}")
async def show_one(webhook: str, request: Request, automation: KnownAutomation, _: Admin) -> Response:
    """Show its newest messages."""
    found = await automation.webhooks.get(webhook)
    deliveries = await automation.webhooks.deliveries(webhook, limit=_DELIVERIES_SHOWN)
    return render(request, "webhook.html", webhook=found, deliveries=deliveries)


@router.post("/{webhook}/resend", name="resend")
async def resend(webhook: str, automation: KnownAutomation, _: Admin, delivery: Annotated[str, Form()]) -> Response:
    """Send one of its messages once more."""
    await automation.webhooks.resend(delivery)
    return RedirectResponse(f"/webhooks/{webhook}", 303)


async def _page(
    request: Request,
    automation: Automation,
    *,
    made: str = "",
    secret: str = "",
    url: str = "",
    chosen: list[str] | None = None,
    error: CloisterError | None = None,
) -> Response:
    return render_form(
        request,
        "webhooks.html",
        error,
        webhooks=await automation.webhooks.list(),
        events=EVENTS,
        chosen=["task_finished"] if chosen is None else chosen,
        url=url,
        made=made,
        secret=secret,
    )
