"""The tour, for who looks at an empty server: one button gives the task of `cloister demo`."""

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Member
from cloister.api.front import FrontDoor
from cloister.demo import project
from cloister.demo.tour import tour_request
from cloister.errors import RepositoryError
from cloister.web.page import PageRoute

router = APIRouter(tags=["tasks"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse)


@router.post("/tour", name="take_tour")
async def take(request: Request, intake: FrontDoor, caller: Member) -> Response:
    """Fetch the project unless it is here, and give its task, as the caller's. RepositoryError without an index."""
    settings = request.app.state.settings
    if settings is None:
        raise RepositoryError("this server has no place for the project of the tour")
    repository = await anyio.to_thread.run_sync(project.prepare_project, settings.state / "demo")
    task = await intake.submit(tour_request(repository), asked_by=caller.name)
    return RedirectResponse(f"/tasks/{task.id}", 303)
