"""Workers: the processes that carry out attempts."""

from fastapi import APIRouter

from cloister.api.caller import Viewer
from cloister.api.front import FrontDoor
from cloister.model.worker import Worker

router = APIRouter(prefix="/workers", tags=["workers"])


@router.get("")
async def find(intake: FrontDoor, _: Viewer) -> list[Worker]:
    """Return the workers that live, and the attempts that each carries out."""
    return list(await intake.queue.workers())
