"""Numbers of a stretch of time."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from cloister.api.audit import Moment
from cloister.api.caller import Viewer
from cloister.api.front import FrontDoor
from cloister.errors import UsageError
from cloister.model.statistics import Statistics

MOST_PARTS = 200
LONGEST = timedelta(days=366)

router = APIRouter(prefix="/statistics", tags=["statistics"])


@router.get("")
async def show(
    intake: FrontDoor,
    _: Viewer,
    since: Annotated[Moment | None, Query(description="Absent: a week before `until`.")] = None,
    until: Annotated[Moment | None, Query(description="Absent: now.")] = None,
    parts: Annotated[int, Query(ge=1, le=MOST_PARTS, description="Into how many parts tasks are counted.")] = 7,
) -> Statistics:
    """Return how tasks ended, how soon they started, whom they asked and what they used; at most of a year."""
    end = until or datetime.now(UTC)
    try:
        begin = since or end - timedelta(days=7)
    except OverflowError as error:
        raise UsageError("there was nothing so long ago") from error
    if not begin < end <= begin + LONGEST:
        raise UsageError(f"`since` is before `until`, and at most {LONGEST.days} days")
    return await intake.statistics(begin.astimezone(UTC), end.astimezone(UTC), parts=parts)
