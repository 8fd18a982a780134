"""Who is let in: tokens, people whom a provider knows, and sessions of browsers."""

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import BaseModel, Field

from cloister.access import Access
from cloister.api.caller import Admin, Caller, Viewer
from cloister.api.front import KnownAccess
from cloister.errors import DeniedError, UsageError
from cloister.model.quantity import DAY
from cloister.model.session import Session, SessionId
from cloister.model.token import Role, Token
from cloister.model.user import UserId
from cloister.web.page import PageRoute, render, render_form

LIFETIMES = ((7, "a week"), (30, "30 days"), (90, "90 days"), (365, "a year"), (0, "ever, until it is revoked"))
"""In days, and in words."""
_ROLES = (
    (Role.VIEWER, "see everything but the audit, settings and tokens"),
    (Role.MEMBER, "give tasks too, follow up on them, and cancel them"),
    (Role.ADMIN, "keep everything"),
)
_EVERYBODY = "everybody"


def _router(tag: str) -> APIRouter:
    return APIRouter(
        prefix=f"/{tag}",
        tags=[tag],
        route_class=PageRoute,
        include_in_schema=False,
        default_response_class=HTMLResponse,
    )


tokens, users, sessions = _router("tokens"), _router("users"), _router("sessions")


class TokenForm(BaseModel):
    """A token that is wanted."""

    name: str = ""
    role: Role = Role.MEMBER
    days: Annotated[int, Field(ge=0, le=3660)] = 90
    """For how long it lets in; 0 is for ever."""


@tokens.get("")
async def show_tokens(request: Request, access: KnownAccess, _: Admin) -> Response:
    """Show all tokens, without what their holders send, and the people whom a provider knows."""
    return await _tokens_page(request, access, TokenForm())


@tokens.post("", name="create")
async def create(request: Request, access: KnownAccess, _: Admin, asked: Annotated[TokenForm, Form()]) -> Response:
    """Make a token, and show it this once."""
    seconds = asked.days * DAY if asked.days else None
    try:
        made, text = await access.tokens.create(asked.name.strip(), asked.role, lifetime_seconds=seconds)
    except UsageError as error:
        return await _tokens_page(request, access, asked, error=error)
    return await _tokens_page(request, access, TokenForm(), made=made, text=text)


@tokens.post("/revoke", name="revoke")
async def revoke(access: KnownAccess, _: Admin, token: Annotated[str, Form()]) -> Response:
    """Let nobody in with a token any more."""
    await access.tokens.revoke(token)
    return RedirectResponse("/tokens", 303)


@users.post("/{user}", name="edit")
async def set_disabled(user: str, access: KnownAccess, _: Admin, disabled: Annotated[bool, Form()]) -> Response:
    """Shut somebody out, or let them in again."""
    await access.users.set_disabled(UserId(user), disabled=disabled)
    return RedirectResponse("/tokens", 303)


@sessions.get("")
async def show_sessions(request: Request, access: KnownAccess, caller: Viewer, of: str = "") -> Response:
    """Show the caller's sessions; to an admin who asks for it, everybody's."""
    everybody = of == _EVERYBODY
    if everybody and not caller.role.includes(Role.ADMIN):
        raise DeniedError(f"{caller.name} is a {caller.role}; others' sessions take a role of {Role.ADMIN}")
    found = await access.sessions.list() if everybody else await _own(access, caller)
    return render(request, "sessions.html", sessions=found, everybody=everybody, names=await _names(access, found))


@sessions.post("/end", name="end")
async def end(
    access: KnownAccess,
    caller: Viewer,
    session: Annotated[str, Form()],
    of: Annotated[Literal["", "everybody"], Form()] = "",
) -> Response:
    """End a session of the caller's own; an admin may end anybody's."""
    own = session in {one.id for one in await _own(access, caller)}
    if not own and not caller.role.includes(Role.ADMIN):
        raise DeniedError(f"{caller.name} is a {caller.role}; others' sessions take a role of {Role.ADMIN}")
    await access.sessions.end(SessionId(session))
    return RedirectResponse("/sessions?of=everybody" if of else "/sessions", 303)


async def _own(access: Access, caller: Caller) -> list[Session]:
    holder = await access.holder_of(caller.by)
    return [one for one in await access.sessions.list() if one.holder == holder]


async def _names(access: Access, found: Sequence[Session]) -> dict[SessionId, str]:
    known = {f"token {token.id}": token.name for token in await access.tokens.list()}
    known |= {f"user {user.id}": user.name for user in await access.users.list()}
    return {one.id: known.get(one.holder, "") for one in found}


async def _tokens_page(
    request: Request,
    access: Access,
    asked: TokenForm,
    *,
    made: Token | None = None,
    text: str = "",
    error: UsageError | None = None,
) -> Response:
    return render_form(
        request,
        "tokens.html",
        error,
        asked=asked,
        made=made,
        text=text,
        tokens=await access.tokens.list(),
        users=await access.users.list(),
        by_provider=access.provider is not None,
        roles=_ROLES,
        lifetimes=LIFETIMES,
        now=access.tokens.now(),
    )
