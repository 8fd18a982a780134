"""The audit, for those who may see it."""

import re
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, BeforeValidator

from cloister.api.body import LARGEST_NUMBER
from cloister.api.caller import Admin
from cloister.api.front import KnownAccess
from cloister.model.audit import AuditEntry, AuditFilter

MOST_LISTED = 1000

router = APIRouter(prefix="/audit", tags=["audit"])


def _refuse_numbers(value: object) -> object:
    """The library would read a number as seconds since 1970, which the document says nothing of."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]", value):
        raise ValueError("write a time as RFC 3339 does, such as 2026-11-26T09:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_refuse_numbers)]


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
    since: Annotated[Moment | None, Query(description="Only from then on.")] = None,
    until: Annotated[Moment | None, Query(description="Only before then.")] = None,
    refused: Annotated[bool, Query(description="Only what was refused.")] = False,
) -> AuditPage:
    """Return who asked for which change, newest first, and what was refused to whom."""
    wanted = AuditFilter(who=who, action=action, since=since, until=until, refused=refused)
    found = await access.audit.list(wanted, limit=limit, before=cursor)
    return AuditPage(items=list(found), cursor=str(found[-1].number) if len(found) == limit else None)
