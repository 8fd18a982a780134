"""Agents: the programs that do the work."""

from fastapi import APIRouter, Request, status
from sse_starlette import EventSourceResponse

from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor
from cloister.api.progress import TOLD, progress_response
from cloister.model.pack import ListedAgent

router = APIRouter(prefix="/agents", tags=["agents"])


@router.get("")
async def find(intake: FrontDoor, _: Viewer) -> list[ListedAgent]:
    """Return the agents, by name, and what of them is installed."""
    return list(await intake.stock.list_agents())


@router.post("/{name}/install", response_class=EventSourceResponse, responses=TOLD)
async def install(name: str, request: Request, intake: FrontDoor, _: Admin) -> EventSourceResponse:
    """Fetch an agent's packages, and tell how far it is. Its result is the agent. Nothing of them is run."""
    intake.stock.recipe_of(name)
    return progress_response(request, lambda report: intake.stock.install_agent(name, report), ListedAgent)


@router.delete("/{name}", status_code=status.HTTP_204_NO_CONTENT)
async def remove(name: str, intake: FrontDoor, _: Admin) -> None:
    """Remove an installed agent. 409 while it works somewhere."""
    await intake.stock.remove_agent(name)
