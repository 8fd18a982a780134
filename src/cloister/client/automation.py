"""What is asked of the work that a server does by itself: schedules, webhooks and notifications."""

from collections.abc import Sequence

from cloister.api.requests import request_to_fields
from cloister.api.schedule_shape import ScheduleShape
from cloister.api.wire import NewNotificationWebhook, NewWebhook, ReceiverShape
from cloister.client.connection import Connection, path_part, read_as
from cloister.errors import UsageError
from cloister.model.missed import Missed
from cloister.model.notification import Occasion
from cloister.model.request import Request
from cloister.model.schedule import ScheduledRun
from cloister.model.webhook import Delivery, Webhook
from cloister.repository_address import is_path


class AutomationCalls(Connection):
    """Schedules, webhooks and notifications."""

    __slots__ = ()

    async def create_schedule(
        self, name: str, cron: str, request: Request, *, timezone: str = "UTC", missed: Missed = Missed.ONCE
    ) -> ScheduleShape:
        """Have a task given by cron expression, in the time of that zone. UsageError for a path that is not there."""
        if self._is_far and is_path(request.repository):
            raise UsageError(
                f"{request.repository} is on this machine, where the server cannot look each time that a task is due",
                hint="name an address that it can fetch, such as: --repo $(git remote get-url origin)",
            )
        fields = {
            "name": name,
            "cron": cron,
            "timezone": timezone,
            "missed": missed,
            "task": request_to_fields(request),
        }
        return read_as(ScheduleShape, await self._call("POST", "/schedules", fields))

    async def schedules(self) -> Sequence[ScheduleShape]:
        """All schedules, by name."""
        return read_as(list[ScheduleShape], await self._call("GET", "/schedules"))

    async def schedule(self, name: str) -> ScheduleShape:
        """One of them."""
        return read_as(ScheduleShape, await self._call("GET", f"/schedules/{path_part(name)}"))

    async def pause_schedule(self, name: str, *, paused: bool = True) -> ScheduleShape:
        """Let no task of a schedule come, or let them come again from now on."""
        return read_as(ScheduleShape, await self._call("PATCH", f"/schedules/{path_part(name)}", {"paused": paused}))

    async def remove_schedule(self, name: str) -> None:
        """Forget a schedule and its history."""
        await self._call("DELETE", f"/schedules/{path_part(name)}")

    async def schedule_runs(self, name: str) -> Sequence[ScheduledRun]:
        """When a schedule was due, newest first, and the task of each time or why there is none."""
        return read_as(list[ScheduledRun], await self._call("GET", f"/schedules/{path_part(name)}/runs"))

    async def create_webhook(self, url: str, events: Sequence[str]) -> tuple[Webhook, str]:
        """Have messages sent of events; returns what they are signed with too, which cannot be had again."""
        made = read_as(NewWebhook, await self._call("POST", "/webhooks", {"url": url, "events": list(events)}))
        return made.about, made.secret

    async def webhooks(self) -> Sequence[Webhook]:
        """All webhooks, oldest first."""
        return read_as(list[Webhook], await self._call("GET", "/webhooks"))

    async def pause_webhook(self, webhook: str, *, paused: bool = True) -> Webhook:
        """Let the messages of a webhook wait, or send them again."""
        return read_as(Webhook, await self._call("PATCH", f"/webhooks/{path_part(webhook)}", {"paused": paused}))

    async def remove_webhook(self, webhook: str) -> None:
        """Forget a webhook, its secret and its messages."""
        await self._call("DELETE", f"/webhooks/{path_part(webhook)}")

    async def test_webhook(self, webhook: str) -> Delivery:
        """Send a message that tells of nothing, at once; returns what came of it."""
        return read_as(Delivery, await self._call("POST", f"/webhooks/{path_part(webhook)}/test"))

    async def rotate_webhook(self, webhook: str) -> str:
        """Replace what messages are signed with, and return it."""
        secret: str = (await self._call("POST", f"/webhooks/{path_part(webhook)}/rotate"))["secret"]
        return secret

    async def webhook_deliveries(self, webhook: str, *, limit: int = 50) -> Sequence[Delivery]:
        """The newest messages of a webhook, newest first."""
        found = await self._call("GET", f"/webhooks/{path_part(webhook)}/deliveries", query={"limit": limit})
        return read_as(list[Delivery], found)

    async def resend_delivery(self, delivery: str) -> Delivery:
        """Send a message once more, under the same id."""
        return read_as(Delivery, await self._call("POST", f"/webhooks/deliveries/{path_part(delivery)}/resend"))

    async def notifications(self) -> Sequence[ReceiverShape]:
        """The caller's devices and addresses that are told of tasks, oldest first."""
        return read_as(list[ReceiverShape], await self._call("GET", "/notifications"))

    async def push_key(self) -> str:
        """What browsers subscribe with."""
        key: str = (await self._call("GET", "/notifications/key"))["key"]
        return key

    async def add_device(
        self,
        endpoint: str,
        p256dh: str,
        auth: str,
        *,
        label: str = "",
        everybody: bool = False,
        replaces: str = "",
    ) -> ReceiverShape:
        """Tell a device of tasks: of all that there is to tell, or of what was chosen for the one that it replaces."""
        said = {"endpoint": endpoint, "p256dh": p256dh, "auth": auth, "label": label, "replaces": replaces}
        fields = {**said, "everybody": everybody}
        return read_as(ReceiverShape, await self._call("POST", "/notifications/devices", fields))

    async def add_notification_webhook(
        self, url: str, occasions: Sequence[Occasion] = tuple(Occasion), *, everybody: bool = False
    ) -> tuple[ReceiverShape, str]:
        """Have word of tasks posted; returns what it is signed with too, which cannot be had again."""
        fields = {"url": url, "occasions": list(occasions), "everybody": everybody}
        made = read_as(NewNotificationWebhook, await self._call("POST", "/notifications/webhooks", fields))
        return made.about, made.secret

    async def choose_notifications(
        self, receiver: str, occasions: Sequence[Occasion], *, everybody: bool = False
    ) -> ReceiverShape:
        """Change what one of the caller's receivers is told."""
        fields = {"occasions": list(occasions), "everybody": everybody}
        return read_as(
            ReceiverShape, await self._call("PATCH", f"/notifications/receivers/{path_part(receiver)}", fields)
        )

    async def test_notification(self, receiver: str) -> str:
        """Tell one of the caller's receivers that this is a test; returns why it was not taken, or nothing."""
        error: str = (await self._call("POST", f"/notifications/receivers/{path_part(receiver)}/test"))["error"]
        return error

    async def remove_receiver(self, receiver: str) -> None:
        """Tell one of the caller's receivers nothing any more."""
        await self._call("DELETE", f"/notifications/receivers/{path_part(receiver)}")
