"""Word of tasks to other programs: signed, queued with the events, and tried again until it is taken."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from importlib.metadata import version

import anyio
import structlog
from anyio.abc import TaskGroup
from standardwebhooks import Webhook as Signer
from tenacity import RetryCallState
from tenacity.wait import wait_exponential_jitter

from cloister.errors import CloisterError, DeniedError, NotFoundError, UsageError
from cloister.event_line import event_to_line
from cloister.model.webhook import (
    EVENTS,
    SECRET_PLACE,
    TEST,
    Delivery,
    DeliveryId,
    DueDelivery,
    Webhook,
    new_delivery_id,
    new_webhook_id,
    new_webhook_secret,
)
from cloister.protocols import Vault, WebhookSender, WebhookStore

MOST_TRIES = 10
"""Over about two days, see `_pause`."""
MOST_AT_ONCE = 32
MOST_AT_ONCE_EACH = 4
"""To one receiver: a slow one keeps nobody else waiting."""
LOOK_SECONDS = 1.0
CLAIM_SECONDS = 120.0
"""After so long a message that nobody finished is another's: its sender was killed."""
FORMER_SECRET_LASTS = timedelta(days=1)
MOST_WEBHOOKS = 100

_GONE = 410
_pause = wait_exponential_jitter(multiplier=5, exp_base=4, max=12 * 3600, jitter=5)
_log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Webhooks:
    """The part of the front door that keeps webhooks, and sends their messages."""

    store: WebhookStore
    vault: Vault
    sender: WebhookSender
    now: Callable[[], datetime]
    """Aware, UTC."""
    _under_way: dict[DeliveryId, str] = field(default_factory=dict, init=False)

    async def create(self, url: str, events: Sequence[str], *, created_by: str) -> tuple[Webhook, str]:
        """Keep a webhook, and return it with the secret that its messages are signed with.

        UsageError; DeniedError for an address where nobody may be reached.
        """
        unknown = sorted(set(events) - set(EVENTS))
        if unknown or not events:
            said = f"there is no event {unknown[0]!r} to be told of" if unknown else "name an event to be told of"
            raise UsageError(said, hint=f"those there are: {', '.join(EVENTS)}")
        await self.sender.check(url)
        if len(await self.store.list()) >= MOST_WEBHOOKS:
            raise UsageError(f"there are {MOST_WEBHOOKS} webhooks already")
        chosen = tuple(event for event in EVENTS if event in events)
        webhook = Webhook(id=new_webhook_id(), url=url, events=chosen, created_at=self.now(), created_by=created_by)
        secret = new_webhook_secret()
        await self.vault.set(SECRET_PLACE, webhook.secret_name, secret)
        await self.store.add(webhook)
        return webhook, secret

    async def list(self) -> Sequence[Webhook]:
        """All, oldest first."""
        return await self.store.list()

    async def get(self, webhook: str) -> Webhook:
        """One of them. NotFoundError."""
        found = next((it for it in await self.store.list() if it.id == webhook), None)
        if found is None:
            raise NotFoundError(f"there is no webhook {webhook!r}", hint="see: cloister webhook list")
        return found

    async def remove(self, webhook: str) -> Webhook:
        """Forget one, its secrets and its messages. NotFoundError."""
        found = await self.get(webhook)
        await self.store.remove(found.id)
        for name in (found.secret_name, found.former_secret_name):
            await self._forget_secret(name)
        return found

    async def pause(self, webhook: str, *, paused: bool) -> Webhook:
        """Let its messages wait, or send them again, those that waited first. NotFoundError."""
        changed = replace(await self.get(webhook), paused=paused, reason="")
        await self.store.change(changed)
        return changed

    async def rotate(self, webhook: str) -> str:
        """Replace the secret, and return the new one. For a day, messages are signed with both. NotFoundError."""
        found = await self.get(webhook)
        former = await self.vault.find(SECRET_PLACE, found.secret_name)
        if former is not None:
            await self.vault.set(SECRET_PLACE, found.former_secret_name, former.reveal())
        secret = new_webhook_secret()
        await self.vault.set(SECRET_PLACE, found.secret_name, secret)
        await self.store.change(replace(found, rotated_at=self.now()))
        return secret

    async def test(self, webhook: str) -> Delivery:
        """Send a message that tells of nothing, at once, and return what came of it. NotFoundError."""
        found = await self.get(webhook)
        delivery = Delivery(
            id=new_delivery_id(), webhook=found.id, event=TEST, task=None, seq=None, created_at=self.now(), tries=1
        )
        sent = replace(await self._try(DueDelivery(delivery=delivery, webhook=found, recorded=None)), next_at=None)
        await self.store.keep(sent)
        return sent

    async def deliveries(self, webhook: str, *, limit: int) -> Sequence[Delivery]:
        """Its newest messages, newest first. NotFoundError."""
        return await self.store.deliveries((await self.get(webhook)).id, limit=limit)

    async def resend(self, delivery: str) -> Delivery:
        """Send a message once more, under the same id, with all its trials before it. NotFoundError, UsageError."""
        found = await self.store.get(DeliveryId(delivery))
        if found.event == TEST:
            raise UsageError("a test is sent anew: cloister webhook test ID")
        again = replace(found, tries=0, next_at=self.now(), delivered_at=None, status=None, error="")
        await self.store.keep(again)
        return again

    async def run(self) -> None:
        """Send what is due, until cancelled. Nothing that fails ends it."""
        async with anyio.create_task_group() as group:
            while True:
                try:
                    await self.send_due(group)
                except CloisterError as error:
                    _log.error("messages of webhooks could not be looked at", error=str(error))
                await anyio.sleep(LOOK_SECONDS)

    async def send_due(self, group: TaskGroup) -> None:
        """Start to send what is due, as much as may be at once."""
        if len(self._under_way) >= MOST_AT_ONCE:
            return
        now = self.now()
        for due in await self.store.due(now, limit=MOST_AT_ONCE * 8):
            delivery, each = due.delivery, Counter(self._under_way.values())
            if delivery.id in self._under_way or each[delivery.webhook] >= MOST_AT_ONCE_EACH:
                continue
            if len(self._under_way) >= MOST_AT_ONCE:
                return
            if await self.store.claim(delivery, now + timedelta(seconds=CLAIM_SECONDS)):
                claimed = replace(due, delivery=replace(delivery, tries=delivery.tries + 1))
                self._under_way[delivery.id] = delivery.webhook
                group.start_soon(self._send, claimed)

    async def _send(self, due: DueDelivery) -> None:
        try:
            sent = await self._try(due)
            await self.store.keep(sent)
            if sent.status == _GONE:
                reason = f"its receiver answered {_GONE}: it is gone"
                await self.store.change(replace(await self.get(due.webhook.id), paused=True, reason=reason))
        except NotFoundError:  # it was removed meanwhile
            return
        except CloisterError as error:  # it is tried again once the claim is over
            _log.error("what came of a message could not be kept", webhook=due.webhook.id, error=str(error))
        finally:
            self._under_way.pop(due.delivery.id, None)

    async def _try(self, due: DueDelivery) -> Delivery:
        """Send once, and return the message as it is then."""
        delivery, now = due.delivery, self.now()
        if delivery.event != TEST and due.recorded is None:
            return replace(delivery, next_at=None, error="its task was forgotten meanwhile")
        body = _body_of(due, now)
        try:
            status = await self.sender.send(due.webhook.url, await self._headers(due, body, now), body)
        except DeniedError as error:
            _log.warning("a webhook's address is refused", webhook=due.webhook.id, error=str(error))
            return replace(delivery, status=None, error=str(error), next_at=_next(delivery, now))
        except CloisterError as error:
            return replace(delivery, status=None, error=str(error), next_at=_next(delivery, now))
        if 200 <= status < 300:
            return replace(delivery, status=status, error="", delivered_at=now, next_at=None)
        said = "a redirect, which is not followed" if 300 <= status < 400 else f"status {status}"
        over = status == _GONE
        return replace(delivery, status=status, error=said, next_at=None if over else _next(delivery, now))

    async def _headers(self, due: DueDelivery, body: bytes, now: datetime) -> dict[str, str]:
        """Return the headers of Standard Webhooks; the time is that of this trial."""
        webhook = due.webhook
        names = [webhook.secret_name]
        if webhook.rotated_at is not None and now - webhook.rotated_at < FORMER_SECRET_LASTS:
            names.append(webhook.former_secret_name)
        secrets = [secret for name in names if (secret := await self.vault.find(SECRET_PLACE, name)) is not None]
        signed = [Signer(secret.reveal()).sign(due.delivery.id, now, body.decode()) for secret in secrets]
        return {
            "Content-Type": "application/json",
            "User-Agent": f"Cloister/{version('cloister')}",
            "webhook-id": due.delivery.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signed),
        }

    async def _forget_secret(self, name: str) -> None:
        try:
            await self.vault.remove(SECRET_PLACE, name)
        except NotFoundError:
            return


def _body_of(due: DueDelivery, now: datetime) -> bytes:
    """Return the message: what happened, as the task's log has it."""
    at, data = (due.recorded.at, event_to_line(due.recorded)) if due.recorded else (now, {})
    body = {"type": due.delivery.event, "timestamp": at.isoformat(), "data": data}
    return json.dumps(body, separators=(",", ":")).encode()


def _next(delivery: Delivery, now: datetime) -> datetime | None:
    """Return when a message that failed is tried again; None after the last trial."""
    if delivery.tries >= MOST_TRIES:
        return None
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # of a loop that outlives this process
    state.attempt_number = delivery.tries
    return now + timedelta(seconds=_pause(state))
