"""What a server does by itself: tasks at set times and at a forge's call, and word of tasks to programs and people."""

from dataclasses import dataclass

import anyio

from cloister.automation.notifications import Notifications
from cloister.automation.review_poster import ReviewPoster
from cloister.automation.schedules import Schedules
from cloister.automation.webhooks import Webhooks
from cloister.triggers.inbox import Inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """The part of the front door that knows what the server shall do by itself."""

    schedules: Schedules
    webhooks: Webhooks
    inbox: Inbox
    notifications: Notifications
    reviews: ReviewPoster | None = None
    """None where there is no forge."""

    async def run(self) -> None:
        """Do it, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.schedules.run)
            group.start_soon(self.webhooks.run)
            group.start_soon(self.inbox.run)
            group.start_soon(self.notifications.run)
            if self.reviews is not None:
                group.start_soon(self.reviews.run)
