"""The tables of webhooks and of their messages, which are queued with the events that they tell of."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from cloister.errors import NotFoundError
from cloister.model.task import TaskId
from cloister.model.webhook import MOST_DELIVERIES_KEPT, Delivery, DeliveryId, DueDelivery, Webhook, WebhookId
from cloister.protocols import WebhookStore
from cloister.stores.database import Database
from cloister.stores.events import find_event
from cloister.stores.schema import DELIVERIES, WEBHOOKS

_DELIVERY, _WEBHOOK = DELIVERIES.c, WEBHOOKS.c


class SqlWebhookStore:
    """`WebhookStore` over the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, webhook: Webhook) -> None:
        """Keep, synced."""
        await self._database.execute(insert(WEBHOOKS).values(_webhook_to_row(webhook)), synced=True)

    async def list(self) -> Sequence[Webhook]:
        """All, oldest first."""
        rows = await self._database.all(select(WEBHOOKS).order_by(_WEBHOOK.created_at, _WEBHOOK.id))
        return [_row_to_webhook(row) for row in rows]

    async def change(self, webhook: Webhook) -> None:
        """Replace, synced."""
        row = _webhook_to_row(webhook)
        await self._database.execute(update(WEBHOOKS).where(_WEBHOOK.id == webhook.id).values(row), synced=True)

    async def remove(self, webhook: WebhookId) -> None:
        """Forget with its messages, synced."""
        of_webhook = delete(DELIVERIES).where(_DELIVERY.webhook == webhook)
        await self._database.execute(of_webhook, delete(WEBHOOKS).where(_WEBHOOK.id == webhook), synced=True)

    async def due(self, now: datetime, *, limit: int) -> Sequence[DueDelivery]:
        """By an index of what waits."""
        query = (
            select(DELIVERIES, *(column.label(f"of_{column.name}") for column in _WEBHOOK))
            .join(WEBHOOKS, _WEBHOOK.id == _DELIVERY.webhook)
            .where(_DELIVERY.next_at <= now, _WEBHOOK.paused.is_(False))
            .order_by(_DELIVERY.next_at)
            .limit(limit)
        )
        return await self._database.query(
            lambda connection: [_due(connection, row) for row in connection.execute(query).all()]
        )

    async def claim(self, delivery: Delivery, until: datetime) -> bool:
        """Let nobody else try it before `until`; False when somebody else does."""
        same = (_DELIVERY.id == delivery.id, _DELIVERY.next_at == delivery.next_at)
        claim = update(DELIVERIES).where(*same).values(next_at=until, tries=_DELIVERY.tries + 1)
        return await self._database.execute(claim) == 1

    async def keep(self, delivery: Delivery) -> None:
        """Add or replace, and forget the oldest that are over."""
        row = _delivery_to_row(delivery)
        of_webhook = select(_DELIVERY.id).where(_DELIVERY.webhook == delivery.webhook, _DELIVERY.next_at.is_(None))
        old = of_webhook.order_by(_DELIVERY.created_at.desc(), _DELIVERY.id).offset(MOST_DELIVERIES_KEPT)
        await self._database.execute(
            insert(DELIVERIES).prefix_with("OR REPLACE").values(row),
            delete(DELIVERIES).where(_DELIVERY.id.in_(old.limit(-1))),
            synced=True,
        )

    async def deliveries(self, webhook: WebhookId, *, limit: int) -> Sequence[Delivery]:
        """Newest first."""
        query = select(DELIVERIES).where(_DELIVERY.webhook == webhook)
        query = query.order_by(_DELIVERY.created_at.desc(), _DELIVERY.id).limit(limit)
        return [_row_to_delivery(row) for row in await self._database.all(query)]

    async def get(self, delivery: DeliveryId) -> Delivery:
        """One. NotFoundError."""
        row = await self._database.first(select(DELIVERIES).where(_DELIVERY.id == delivery))
        if row is None:
            raise NotFoundError(f"there is no delivery {delivery!r}", hint="see: cloister webhook deliveries ID")
        return _row_to_delivery(row)


def _due(connection: Connection, row: Row[Any]) -> DueDelivery:
    delivery = _row_to_delivery(row)
    recorded = None
    if delivery.task is not None and delivery.seq is not None:
        recorded = find_event(connection, delivery.task, delivery.seq)
    values = {column.name: getattr(row, f"of_{column.name}") for column in _WEBHOOK}
    return DueDelivery(delivery=delivery, webhook=_values_to_webhook(values), recorded=recorded)


def _webhook_to_row(webhook: Webhook) -> dict[str, object]:
    return {column.name: getattr(webhook, column.name) for column in _WEBHOOK if column.name != "events"} | {
        "events": list(webhook.events)
    }


def _row_to_webhook(row: Row[Any]) -> Webhook:
    return _values_to_webhook(dict(row._mapping))


def _values_to_webhook(values: dict[str, Any]) -> Webhook:
    return Webhook(**{**values, "id": WebhookId(values["id"]), "events": tuple(values["events"])})


def _delivery_to_row(delivery: Delivery) -> dict[str, object]:
    return {column.name: getattr(delivery, column.name) for column in _DELIVERY}


def _row_to_delivery(row: Row[Any]) -> Delivery:
    values = {column.name: getattr(row, column.name) for column in _DELIVERY}
    made = Delivery(**{**values, "id": DeliveryId(row.id), "webhook": WebhookId(row.webhook)})
    return replace(made, task=None if row.task is None else TaskId(row.task))


_: type[WebhookStore] = SqlWebhookStore
