"""Tasks that come by themselves, and programs and people that are told of tasks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from cloister.model.notification import DueNotice, Receiver, ReceiverId
from cloister.model.schedule import Schedule, ScheduledRun
from cloister.model.webhook import Delivery, DeliveryId, DueDelivery, Webhook, WebhookId


class ScheduleStore(Protocol):
    """Schedules, and the times at which they were due. Every change is synced to disk when its method returns."""

    async def add(self, schedule: Schedule) -> None:
        """Keep a new one. ConflictError when its name is in use; UsageError for text that is not valid Unicode."""
        ...

    async def list(self) -> Sequence[Schedule]:
        """All, by name."""
        ...

    async def remove(self, name: str) -> None:
        """Forget it with its runs. Absent is not an error."""
        ...

    async def set_next(self, name: str, next_at: datetime | None) -> None:
        """Say when it is due next; None pauses it. Absent is not an error."""
        ...

    async def begin(self, run: ScheduledRun, *, due_at: datetime, next_at: datetime) -> bool:
        """Note a run, and that its schedule, due at `due_at` so far, is due next at `next_at`.

        False, and nothing is changed, when the schedule is not due then (any more): of several callers one succeeds.
        """
        ...

    async def finish(self, run: ScheduledRun) -> None:
        """Note the task of a run, or why there is none. One that has a task keeps it."""
        ...

    async def unfinished(self) -> Sequence[ScheduledRun]:
        """Runs with neither a task nor a reason, oldest first."""
        ...

    async def runs(self, name: str) -> Sequence[ScheduledRun]:
        """The runs of a schedule, newest first; the last hundred of them."""
        ...


class WebhookStore(Protocol):
    """Webhooks, and the messages to them. A message is queued with the event that it tells of, or neither is kept."""

    async def add(self, webhook: Webhook) -> None:
        """Keep a new one; synced to disk when this returns. It is told of what happens from then on."""
        ...

    async def list(self) -> Sequence[Webhook]:
        """All, oldest first."""
        ...

    async def change(self, webhook: Webhook) -> None:
        """Replace the one of that id; synced. Absent is not an error."""
        ...

    async def remove(self, webhook: WebhookId) -> None:
        """Forget it with its messages; synced. Absent is not an error."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[DueDelivery]:
        """Messages to be tried by now, of webhooks that are not paused, those that waited longest first."""
        ...

    async def claim(self, delivery: Delivery, until: datetime) -> bool:
        """Count a trial, and let nobody else try before `until`; False when somebody else did: of several one may."""
        ...

    async def keep(self, delivery: Delivery) -> None:
        """Add or replace a message, synced; of each webhook's that are over, the last 200 are kept."""
        ...

    async def deliveries(self, webhook: WebhookId, *, limit: int) -> Sequence[Delivery]:
        """Its newest messages, newest first."""
        ...

    async def get(self, delivery: DeliveryId) -> Delivery:
        """One message. NotFoundError."""
        ...


class ReceiverStore(Protocol):
    """Who is told of tasks, and what is to be told: that is queued with the end of a turn, or neither is kept."""

    async def add(self, receiver: Receiver) -> ReceiverId | None:
        """Keep a new one, synced, and return the id of the one of the same address that it replaced, if any."""
        ...

    async def list(self, holder: str | None = None) -> Sequence[Receiver]:
        """Those of a holder, or all, oldest first."""
        ...

    async def change(self, receiver: Receiver) -> None:
        """Replace the one of that id; synced. Absent is not an error."""
        ...

    async def remove(self, receiver: ReceiverId) -> None:
        """Forget it with what is to be told to it; synced. Absent is not an error."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[DueNotice]:
        """What is to be told by now, what waited longest first."""
        ...

    async def claim(self, notice: DueNotice, until: datetime) -> bool:
        """Count a trial, and let nobody else try before `until`; False when somebody else did: of several one may."""
        ...

    async def put_off(self, notice: DueNotice, next_at: datetime | None, *, at: datetime, error: str) -> None:
        """Note how a trial ended, without `error` that it was taken; None is that it is not tried again."""
        ...

    async def drop(self, notice: DueNotice) -> None:
        """Forget what concerns nobody. Absent is not an error."""
        ...


class WebhookSender(Protocol):
    """Reaches receivers, where the rules for addresses let it."""

    async def check(self, url: str) -> None:
        """Refuse an address that is none, or where nobody may be reached. UsageError, DeniedError."""
        ...

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post, follow no redirect, read nothing of the answer, and return its status.

        The name is looked up once, and an address that was judged is dialled. DeniedError when none may be;
        UnreachableError when nobody answers in time.
        """
        ...
