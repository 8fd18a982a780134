"""Logging in with a token, and out, as a form of a page does."""

import re
from urllib.parse import parse_qsl, urlencode

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from cloister.access import Access
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

_LOG = structlog.get_logger(__name__)
_MOST_BYTES = 64 * 1024
_MOST_FIELDS = 20
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x20\\\x7f-\U0010ffff]*")
PROBLEMS = {
    "wrong": "This token lets nobody in.",
    "often": "Too many wrong tokens came from your address. Wait a minute.",
    "elsewhere": "That form was not a page of this server's.",
    "provider": "Nobody can be let in on what your provider said. The server's log says why.",
    "stays": "Your provider has no place to log out at from here: close the browser, or log out on its own pages.",
    "role": "Your provider knows you, and you have no role here.",
}
"""What a form says in its query, in words."""


def add_login(app: FastAPI) -> None:
    """Let the application read the form of `GET /login`, and end sessions.

    `POST /login` takes the fields `token` and `next` (a path of ours), and answers 303: to `next`, with the cookie of a
    new session, or back to the form with `problem` in its query. `POST /logout` (as every change of a page, with its
    key) ends the session, and answers 303 to the form. Who does not ask for text/html gets problem documents.
    """
    app.state.failures = Failures()
    app.state.open_paths |= {LOGIN}
    app.add_api_route(LOGIN, _log_in, methods=["POST"], name="log_in", include_in_schema=False, response_class=Response)
    app.add_api_route(
        LOGOUT, _log_out, methods=["POST"], name="log_out", include_in_schema=False, response_class=Response
    )


def local_path(text: str) -> str:
    """Return a path of ours, as it was wished for; the first page in place of what leads elsewhere."""
    return text if _LOCAL.fullmatch(text) else "/"


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
    await end_former(request, access)
    response = RedirectResponse(wanted, 303)
    seconds = (session.expires_at - session.created_at).total_seconds()
    set_session(response, text, secure=is_secure(request, access), seconds=seconds)
    return response


async def _log_out(request: Request, access: KnownAccess, caller: Viewer) -> Response:
    by_provider = False
    if caller.session is not None:
        ended = await access.sessions.end(SessionId(caller.session))
        by_provider = ended.user is not None
    response = RedirectResponse(f"{LOGIN}?left=true" if by_provider else LOGIN, 303)
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


async def end_former(request: Request, access: Access) -> None:
    """End the session that the browser had, if any."""
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
    return back_to_login(request, error, problem, wanted)


def back_to_login(request: Request, error: CloisterError, problem: str, wanted: str) -> Response:
    """Send a browser back to the form, which says in words what `problem` is; tell everybody else the error."""
    request.state.outcome = error.http_status  # for the audit: 303 alone would not say it
    _LOG.warning("nobody was let in", problem=problem, reason=str(error), address=address_of(request))
    if "text/html" not in request.headers.get("accept", ""):
        return problem_response(error)
    return RedirectResponse(f"{LOGIN}?{urlencode({'problem': problem, 'next': wanted})}", 303)
