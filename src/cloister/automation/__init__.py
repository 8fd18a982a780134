"""What a server does by itself: tasks at set times and at a forge's call, and word of tasks to programs and people."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from cloister.automation.notifications import Notifications
from cloister.automation.review_poster import ReviewPoster
from cloister.automation.schedules import Schedules
from cloister.automation.webhooks import Webhooks
from cloister.triggers.inbox import Inbox

if TYPE_CHECKING:  # servers alone load it
    from cloister.triggers.following import Following


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """The part of the front door that knows what the server shall do by itself."""

    schedules: Schedules
    webhooks: Webhooks
    inbox: Inbox
    following: "Callable[[], Following]"
    """Returns what follows the tasks that were asked for at the forge, once it is needed."""
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
            group.start_soon(self.following().run)
