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
    try:
        end = (until or datetime.now(UTC)).astimezone(UTC)
        begin = since.astimezone(UTC) if since else end - timedelta(days=7)
    except OverflowError as error:
        raise UsageError("nobody has a calendar for that time") from error
    if not timedelta() < end - begin <= LONGEST:
        raise UsageError(f"`since` is before `until`, and at most {LONGEST.days} days")
    return await intake.statistics(begin, end, parts=parts)
