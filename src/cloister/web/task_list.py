"""The first page: the newest tasks, those that are looked for, and the way to end several."""

from dataclasses import replace
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel

from cloister.api.caller import Member, Viewer
from cloister.api.front import FrontDoor
from cloister.api.tasks import next_cursor
from cloister.errors import UsageError
from cloister.model.choice import best_attempt
from cloister.model.task import TaskState, Verdict
from cloister.model.task_filter import LOOKED_AT, TaskFilter
from cloister.web.page import PageRoute, render

TASKS_AT_ONCE = 30
MOST_ENDED_AT_ONCE = 200

STATES = (TaskState.QUEUED, TaskState.RUNNING, *Verdict)
"""What can be looked for: where a task is, or how it ended."""


ARCHIVED = "archived"
"""Can be looked for in its place: those that were put out of sight."""


class Asked(BaseModel):
    """Which tasks somebody looks for. Empty is as if it was not said."""

    q: Annotated[str, Query(max_length=200)] = ""
    state: str = ""
    environment: str = ""
    cursor: str = ""

    def to_filter(self) -> TaskFilter:
        """Return it for the front door. UsageError for a state that there is none of."""
        state, is_archived = next((each for each in STATES if each == self.state), None), self.state == ARCHIVED
        if self.state and state is None and not is_archived:
            raise UsageError(f"no task is ever {self.state!r}; there are {', '.join((*STATES, ARCHIVED))}")
        environment = self.environment or None
        text = self.q.strip()
        only = TaskFilter(environment=environment, state=state, text=text, archived=is_archived)
        return replace(only, within=LOOKED_AT) if only.is_search else only

    def address(self, cursor: str) -> str:
        """Return where such tasks are shown, from behind that one on."""
        asked = {**self.model_dump(), "cursor": cursor}
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"/?{query}" if query else "/"


router = APIRouter(
    tags=["tasks"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


@router.get("/")
async def tasks(
    request: Request,
    intake: FrontDoor,
    _: Viewer,
    asked: Annotated[Asked, Query()],
) -> Response:
    """Show the newest tasks, or those that are looked for."""
    only = asked.to_filter()
    found = await intake.tasks(limit=TASKS_AT_ONCE, before=asked.cursor or None, only=only)
    following = next_cursor(found, TASKS_AT_ONCE)
    further = None
    if only.within is not None and following is None:
        further = await intake.last_looked_at(within=LOOKED_AT, before=asked.cursor or None)
    return render(
        request,
        "tasks.html",
        tasks=found,
        asked=asked,
        states=(*STATES, ARCHIVED),
        environments=[stored.name for stored in await intake.environments.list()],
        here=asked.address(asked.cursor),
        first_page=asked.address(""),
        next_page=asked.address(following) if following else None,
        further=asked.address(further) if further else None,
        looked_at=LOOKED_AT,
        phases=await intake.phases([it.task.id for it in found if it.state is TaskState.RUNNING]),
        is_empty=not found and asked == Asked(),
        best=best_attempt,
        running=[it for it in found if it.state is not TaskState.FINISHED],
    )


@router.post("/cancel")
async def cancel(intake: FrontDoor, _: Member, task: Annotated[list[str], Form()]) -> Response:
    """Ask for the end of several tasks."""
    for each in task[:MOST_ENDED_AT_ONCE]:
        await intake.cancel(each)
    return RedirectResponse("/", 303)
