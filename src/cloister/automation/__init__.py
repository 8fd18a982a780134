"""What a server does by itself: tasks at set times, and word of tasks to other programs."""

from dataclasses import dataclass

from cloister.automation.schedules import Schedules


@dataclass(frozen=True, slots=True, kw_only=True)
class Automation:
    """The part of the front door that knows what the server shall do by itself."""

    schedules: Schedules

    async def run(self) -> None:
        """Do it, until cancelled."""
        await self.schedules.run()
