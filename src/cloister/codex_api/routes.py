"""The routes of the `codex cloud` client: `/api/codex/...`, and the same below `/wham/`."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated

from fastapi import APIRouter, FastAPI, Query
from starlette.routing import BaseRoute

from cloister.api.caller import Member, Viewer
from cloister.api.front import FrontDoor
from cloister.api.tasks import next_cursor
from cloister.codex_api.environments import CodexEnvironment, get_place, list_places, shown_places
from cloister.codex_api.request import CodexTask, Created, CreatedTask
from cloister.codex_api.shapes import (
    SiblingTurns,
    TaskDetails,
    TaskPage,
    attempt_to_turn,
    status_to_details,
    status_to_item,
)
from cloister.errors import NotFoundError
from cloister.model.choice import attempt_of
from cloister.model.request import Request
from cloister.model.task_filter import TaskFilter

MOST_LISTED = 20

router = APIRouter()

_PREFIXES = ("/api/codex", "/wham")
"""The client takes the second where the address that it was given has `/backend-api` in it."""


def add_codex(app: FastAPI) -> None:
    """Let the application answer the client."""
    app.router.routes.extend(_both())


@cache
def _both() -> Sequence[BaseRoute]:
    """Return all routes, made once: they have no state, so that applications share them."""
    whole = APIRouter()
    for prefix in _PREFIXES:
        whole.include_router(router, prefix=prefix, include_in_schema=False)
    return whole.routes


@router.get("/environments")
async def environments(intake: FrontDoor, _: Viewer) -> list[CodexEnvironment]:
    """Return all environments."""
    return await shown_places(intake, await list_places(intake))


@router.get("/environments/by-repo/{forge}/{owner}/{name}")
async def environments_of(forge: str, owner: str, name: str, intake: FrontDoor, _: Viewer) -> list[CodexEnvironment]:
    """Return those whose repository ends so."""
    end = f"{owner}/{name.removesuffix('.git')}"
    places = [place for place in await list_places(intake) if place.repository.removesuffix(".git").endswith(end)]
    return await shown_places(intake, places)


@router.post("/tasks")
async def create(body: CodexTask, intake: FrontDoor, caller: Member) -> Created:
    """Accept a task."""
    place = await get_place(intake, body.new_task.environment_id)
    request = Request(
        repository=place.repository,
        environment=place.environment,
        prompt=body.prompt,
        ref=body.new_task.branch or None,
        attempts=body.metadata.best_of_n,
        patch=body.patch,
    )
    return Created(task=CreatedTask(id=(await intake.submit(request, asked_by=caller.name)).id))


@router.get("/tasks/list")
async def find(
    intake: FrontDoor,
    _: Viewer,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = MOST_LISTED,
    cursor: str | None = None,
    environment_id: str | None = None,
) -> TaskPage:
    """Return tasks, newest first, of one environment or of all."""
    found = await intake.tasks(limit=limit, before=cursor, only=TaskFilter(environment=environment_id))
    items = [status_to_item(status, attempt_of(status, None)) for status in found]
    return TaskPage(items=items, cursor=next_cursor(found, limit))


@router.get("/tasks/{task}")
async def get(task: str, intake: FrontDoor, _: Viewer) -> TaskDetails:
    """Return a task with its newest turn, and the attempt to show first."""
    status = await intake.task(task)
    return status_to_details(status, attempt_of(status, None))


@router.get("/tasks/{task}/turns/{turn}/sibling_turns")
async def siblings(task: str, turn: str, intake: FrontDoor, _: Viewer) -> SiblingTurns:
    """Return the other attempts of the turn that one is of."""
    for each in (await intake.task(task)).turns:
        if any(attempt.attempt == turn for attempt in each.attempts):
            others = [attempt_to_turn(each, attempt) for attempt in each.attempts if attempt.attempt != turn]
            return SiblingTurns(sibling_turns=others)
    raise NotFoundError(f"task {task} has no turn {turn!r}")
