"""Tasks out of sight, and back."""

from fastapi import APIRouter

from cloister.api.caller import Member
from cloister.api.front import FrontDoor
from cloister.api.task_shape import TaskShape, status_to_shape

router = APIRouter(prefix="/tasks", tags=["tasks"])


@router.post("/{task}/archive")
async def archive(task: str, intake: FrontDoor, _: Member) -> TaskShape:
    """Leave a task that is over out of lists. Nothing of it is removed. Harmless twice; 409 while it is not over."""
    return status_to_shape(await intake.archive(task))


@router.post("/{task}/restore")
async def restore(task: str, intake: FrontDoor, _: Member) -> TaskShape:
    """Show a task in lists again. Harmless twice."""
    return status_to_shape(await intake.archive(task, archived=False))
