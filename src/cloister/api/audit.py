"""The audit, for those who may see it."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel

from cloister.api.body import LARGEST_NUMBER
from cloister.api.caller import Admin
from cloister.api.front import KnownAccess
from cloister.model.audit import AuditEntry, AuditFilter

MOST_LISTED = 1000

router = APIRouter(prefix="/audit", tags=["audit"])


class AuditPage(BaseModel):
    """A page of the audit."""

    items: list[AuditEntry]
    cursor: str | None
    """Of the next page; null on the last."""


@router.get("")
async def find(
    access: KnownAccess,
    _: Admin,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    cursor: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Of the page before.")] = None,
    who: Annotated[str | None, Query(description="Only what a caller of that name asked for.")] = None,
    action: Annotated[str | None, Query(description="Only operations whose names begin so: `tokens`.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Only from then on.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Only before then.")] = None,
    refused: Annotated[bool, Query(description="Only what was refused.")] = False,
) -> AuditPage:
    """Return who asked for which change, newest first, and what was refused to whom."""
    wanted = AuditFilter(who=who, action=action, since=since, until=until, refused=refused)
    found = await access.audit.list(wanted, limit=limit, before=cursor)
    return AuditPage(items=list(found), cursor=str(found[-1].number) if len(found) == limit else None)
