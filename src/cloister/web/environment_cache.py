"""What is kept for an environment, why a task would find it or not, and how it is forgotten."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Admin, Member
from cloister.api.front import FrontDoor, check_repository
from cloister.errors import CloisterError, NotFoundError
from cloister.model.request import EnvironmentName
from cloister.web.environment_checks import repositories_for
from cloister.web.page import PageRoute, render_form

router = APIRouter(
    prefix="/environments/{name}",
    tags=["environments"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


@router.get("/why")
async def why(
    name: str, request: Request, intake: FrontDoor, caller: Member, repository: str = "", ref: str = ""
) -> Response:
    """Say whether the next task on a repository would find a kept disk, part by part, and why not."""
    await intake.environments.get(name)
    answer, refused = None, None
    if address := repository.strip():
        try:
            check_repository(address, caller)
            answer = await intake.repositories.why(address, ref.strip() or None, EnvironmentName(name=name))
        except CloisterError as error:
            refused = error
    known = await repositories_for(intake, caller, name)
    return render_form(
        request,
        "environment_why.html",
        refused,
        name=name,
        ref=ref,
        answer=answer,
        repository=repository or next(iter(known), ""),
        repositories=known,
    )


@router.post("/snapshots/remove", response_class=Response)
async def remove(name: str, intake: FrontDoor, _: Admin, key: Annotated[str, Form(min_length=1)]) -> Response:
    """Forget one of its snapshots."""
    if (await intake.snapshots.get(key)).environment != name:
        raise NotFoundError(f"the snapshot {key[:12]} is of another environment")
    await intake.snapshots.remove(key)
    return RedirectResponse(f"/environments/{name}#snapshots", 303)


@router.post("/reset-cache", response_class=Response)
async def reset(name: str, intake: FrontDoor, _: Admin) -> Response:
    """Forget all of them: the next task runs setup."""
    await intake.environments.get(name)
    await intake.snapshots.reset(name)
    return RedirectResponse(f"/environments/{name}#snapshots", 303)
