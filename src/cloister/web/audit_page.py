"""The audit, a page at a time."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel

from cloister.api.body import LARGEST_NUMBER
from cloister.api.caller import Admin
from cloister.api.front import KnownAccess
from cloister.model.audit import AuditFilter
from cloister.web.page import PageRoute, render

ENTRIES_AT_ONCE = 50

router = APIRouter(tags=["audit"], route_class=PageRoute, include_in_schema=False, default_response_class=HTMLResponse)


class Asked(BaseModel):
    """Which entries somebody looks for. Empty is as if it was not said."""

    who: Annotated[str, Query(max_length=200)] = ""
    action: Annotated[str, Query(max_length=200)] = ""
    refused: bool = False
    cursor: Annotated[int, Query(ge=0, le=LARGEST_NUMBER)] = 0

    def to_filter(self) -> AuditFilter:
        """Return it for the front door."""
        return AuditFilter(who=self.who.strip() or None, action=self.action.strip() or None, refused=self.refused)

    def address(self, cursor: int) -> str:
        """Return where such entries are shown, from behind that one on."""
        asked = {"who": self.who, "action": self.action, "refused": "true" if self.refused else "", "cursor": cursor}
        query = urlencode({name: value for name, value in asked.items() if value})
        return f"/audit?{query}" if query else "/audit"


@router.get("/audit")
async def show(request: Request, access: KnownAccess, _: Admin, asked: Annotated[Asked, Query()]) -> Response:
    """Show the newest entries, or those that are looked for."""
    found = await access.audit.list(asked.to_filter(), limit=ENTRIES_AT_ONCE, before=asked.cursor or None)
    is_more = len(found) == ENTRIES_AT_ONCE
    return render(
        request,
        "audit.html",
        entries=found,
        asked=asked,
        first_page=asked.address(0),
        next_page=asked.address(found[-1].number) if is_more else None,
    )
