"""Webhooks: word of tasks to other programs."""

from typing import Annotated

from fastapi import APIRouter, Query, status
from pydantic import BaseModel, Field

from cloister.api.body import Body
from cloister.api.caller import Admin
from cloister.api.front import KnownAutomation
from cloister.api.wire import NewWebhook
from cloister.model.webhook import Delivery, Webhook

MOST_LISTED = 200

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


class NewWebhookBody(Body):
    """A webhook that is wanted."""

    url: str = Field(examples=["https://hooks.example/cloister"])
    events: list[str] = Field(examples=[["task_finished"]])
    """Names of events; see the page on webhooks for those that can be told of."""


class WebhookPauseBody(Body):
    """Whether its messages wait."""

    paused: bool


class RotatedSecret(BaseModel):
    """What messages are signed with from now on, and for a day with the former one too."""

    secret: str


@router.post("", status_code=status.HTTP_201_CREATED)
async def create(body: NewWebhookBody, automation: KnownAutomation, caller: Admin) -> NewWebhook:
    """Keep a webhook. It is told of what happens from then on."""
    about, secret = await automation.webhooks.create(body.url, body.events, created_by=caller.name)
    return NewWebhook(secret=secret, about=about)


@router.get("")
async def find(automation: KnownAutomation, _: Admin) -> list[Webhook]:
    """Return all webhooks, oldest first."""
    return list(await automation.webhooks.list())


@router.patch("/{webhook}")
async def pause(webhook: str, body: WebhookPauseBody, automation: KnownAutomation, _: Admin) -> Webhook:
    """Let the messages of a webhook wait, or send them again, those that waited first."""
    return await automation.webhooks.pause(webhook, paused=body.paused)


@router.delete("/{webhook}")
async def remove(webhook: str, automation: KnownAutomation, _: Admin) -> Webhook:
    """Forget a webhook, its secret and its messages."""
    return await automation.webhooks.remove(webhook)


@router.post("/{webhook}/test")
async def test(webhook: str, automation: KnownAutomation, _: Admin) -> Delivery:
    """Send a message that tells of nothing, at once, and say what came of it."""
    return await automation.webhooks.test(webhook)


@router.post("/{webhook}/rotate")
async def rotate(webhook: str, automation: KnownAutomation, _: Admin) -> RotatedSecret:
    """Replace the secret of a webhook."""
    return RotatedSecret(secret=await automation.webhooks.rotate(webhook))


@router.get("/{webhook}/deliveries")
async def deliveries(
    webhook: str,
    automation: KnownAutomation,
    _: Admin,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
) -> list[Delivery]:
    """Return the newest messages of a webhook, newest first, with what came of them."""
    return list(await automation.webhooks.deliveries(webhook, limit=limit))


@router.post("/deliveries/{delivery}/resend", status_code=status.HTTP_202_ACCEPTED)
async def resend(delivery: str, automation: KnownAutomation, _: Admin) -> Delivery:
    """Send a message once more, under the same id."""
    return await automation.webhooks.resend(delivery)
