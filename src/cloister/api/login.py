"""Logging in with a token, and out, as a form of a page does."""

import re
from html import escape
from urllib.parse import parse_qsl, urlencode

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Caller, Viewer
from cloister.api.cookie import borne_session, forget_session, is_secure, set_session
from cloister.api.failures import Failures, address_of
from cloister.api.front import KnownAccess
from cloister.api.gate import LOGIN
from cloister.api.own_page import check_origin
from cloister.api.problem_answers import problem_response
from cloister.errors import CloisterError, DeniedError, TooManyFailuresError, UnauthenticatedError, UsageError
from cloister.model.session import SessionId

LOGOUT = "/logout"

_MOST_BYTES = 64 * 1024
_MOST_FIELDS = 20
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x20\\\x7f-\U0010ffff]*")
PROBLEMS = {
    "wrong": "This token lets nobody in.",
    "often": "Too many wrong tokens came from your address. Wait a minute.",
    "elsewhere": "That form was not a page of this server's.",
}
"""What a form says in its query, in words."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def add_login(app: FastAPI) -> None:
    """Let the application show the form, read it, and end sessions.

    `POST /login` takes the fields `token` and `next` (a path of ours), and answers 303: to `next`, with the cookie of a
    new session, or back to the form with `problem` in its query. `POST /logout` (as every change of a page, with its
    key) ends the session, and answers 303 to the form. Who does not ask for text/html gets problem documents.
    """
    app.state.failures = Failures()
    app.state.open_paths |= {LOGIN}
    app.add_api_route(LOGIN, _show, name="show_login", include_in_schema=False, response_class=HTMLResponse)
    app.add_api_route(LOGIN, _log_in, methods=["POST"], name="log_in", include_in_schema=False, response_class=Response)
    app.add_api_route(
        LOGOUT, _log_out, methods=["POST"], name="log_out", include_in_schema=False, response_class=Response
    )


def local_path(text: str) -> str:
    """Return a path of ours, as it was wished for; the first page in place of what leads elsewhere."""
    return text if _LOCAL.fullmatch(text) else "/"


async def _show(request: Request) -> Response:
    """Show the form. A page that is nicer may take its place; the fields stay."""
    words = PROBLEMS.get(request.query_params.get("problem", ""), "")
    wanted = escape(local_path(request.query_params.get("next", "/")))
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>Cloister</title><h1>Cloister</h1><p role=alert>{words}</p><form method=post action={LOGIN}>"
        f'<input type=hidden name=next value="{wanted}"><label>Token '
        "<input type=password name=token required autocomplete=current-password></label> "
        "<button>Log in</button></form>",
        headers=_HEADERS,
    )


async def _log_in(request: Request, access: KnownAccess) -> Response:
    """Begin a session, and end the one that the browser had: what somebody knew of that is worth nothing now."""
    wanted = "/"
    try:
        check_origin(request, access.public_url)
        form = await read_form(request)
        wanted = local_path(form.get("next", "/"))
        session, text = await access.sessions.log_in(form.get("token", "").strip(), address_of(request))
    except DeniedError as error:
        return _refused(request, error, wanted)
    known = await access.sessions.authenticate(text)
    request.state.caller = Caller(name=known.name, role=known.role, by=f"session {session.id}")  # for the audit
    await _end_former(request, access)
    response = RedirectResponse(wanted, 303)
    seconds = (session.expires_at - session.created_at).total_seconds()
    set_session(response, text, secure=is_secure(request, access), seconds=seconds)
    return response


async def _log_out(request: Request, access: KnownAccess, caller: Viewer) -> Response:
    if caller.session is not None:
        await access.sessions.end(SessionId(caller.session))
    response = RedirectResponse(LOGIN, 303)
    forget_session(response, secure=is_secure(request, access))
    return response


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a small form of somebody who may be anybody. UsageError."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            raise UsageError("this form is too large")
    try:
        return dict(parse_qsl(body.decode(), max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise UsageError("this is no form that can be read") from error


async def _end_former(request: Request, access: KnownAccess) -> None:
    try:
        text = borne_session(request, access)
        if text is not None:
            known = await access.sessions.authenticate(text)
            await access.sessions.end(known.session.id)
    except CloisterError:
        return  # it was over


def _refused(request: Request, error: DeniedError, wanted: str) -> Response:
    problem = "wrong" if isinstance(error, UnauthenticatedError) else "elsewhere"
    if problem == "wrong":
        try:
            failures: Failures = request.app.state.failures
            failures.count(request)
        except TooManyFailuresError as many:
            problem, error = "often", many
    if "text/html" not in request.headers.get("accept", ""):
        return problem_response(error)
    return RedirectResponse(f"{LOGIN}?{urlencode({'problem': problem, 'next': wanted})}", 303)
