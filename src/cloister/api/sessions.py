"""Sessions of browsers, and what a page has to know of its own."""

from fastapi import APIRouter
from pydantic import BaseModel

from cloister.api.caller import Admin, Viewer
from cloister.api.front import KnownAccess
from cloister.model.session import Session, SessionId
from cloister.model.token import Role

router = APIRouter(prefix="/sessions", tags=["sessions"])


class Myself(BaseModel):
    """Who calls, as the server knows them."""

    name: str
    role: Role
    session: str | None
    """Null for who called with a token."""
    page_key: str | None
    """What changes of this session's pages are sent with, in `X-Cloister-Page-Key`. Null without a session."""


@router.get("/current")
async def current(caller: Viewer) -> Myself:
    """Say who calls, and what they may do."""
    return Myself(name=caller.name, role=caller.role, session=caller.session, page_key=caller.page_key)


@router.get("")
async def find(access: KnownAccess, _: Admin) -> list[Session]:
    """Return the sessions that let somebody in, newest first."""
    return list(await access.sessions.list())


@router.delete("/{session}")
async def end(session: str, access: KnownAccess, _: Admin) -> Session:
    """Let nobody in with a session any more."""
    return await access.sessions.end(SessionId(session))
