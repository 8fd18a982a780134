"""The gate of the application: nothing of a request's body is acted on before it is known who calls."""

from urllib.parse import quote

from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from cloister.api.asked_by_browser import sends_form, wants_page
from cloister.api.audit_trail import ADDRESS, Trail
from cloister.api.caller import Authenticate
from cloister.api.own_page import SAFE_METHODS, check_origin, check_page_key, check_reader
from cloister.api.problem import Problem, error_to_problem
from cloister.api.problem_answers import problem_response
from cloister.audit import Audit
from cloister.errors import CloisterError, UnauthenticatedError

LOGIN = "/login"
"""Where a browser is sent that has no session."""

_LOG_IN = "log in, and send it anew; a page that runs its scripts notices before it sends, and keeps what was written"

OPEN_PREFIX = "/static/"
"""What is below it is shown to whoever asks; nothing of an installation is in there."""


class Gate:
    """An ASGI application in front of another, which finds the caller in `request.state.caller`.

    A change that is asked for with a session's cookie has to come from a page of ours; see `own_page`.
    """

    def __init__(self, app: ASGIApp, authenticate: Authenticate, audit: Audit, public_url: str | None = None) -> None:
        self._app = app
        self._audit = audit
        self._authenticate = authenticate
        self._public_url = public_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with why not."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # of these, nobody would know the caller
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        trail = Trail(self._audit, connection, receive, send)
        try:
            await self._let_in(connection, trail.receive, trail.send)
        finally:
            await trail.end()

    async def _let_in(self, connection: HTTPConnection, receive: Receive, send: Send) -> None:
        if _is_open(connection.scope):
            await self._app(connection.scope, receive, send)
            return
        try:
            caller = await self._authenticate(connection)
            if caller.page_key is not None:
                connection.state.caller = caller
                receive = await self._check_page(connection, caller.page_key, receive)
        except CloisterError as error:
            await _refusal(connection, error)(connection.scope, receive, send)
            return
        connection.state.caller = caller
        with bound_contextvars(caller=caller.name, **_came_from(connection)):
            await self._app(connection.scope, receive, send)

    async def _check_page(self, connection: HTTPConnection, key: str, receive: Receive) -> Receive:
        if connection.scope["method"] in SAFE_METHODS:
            check_reader(connection)
            return receive
        check_origin(connection, self._public_url)
        return await check_page_key(connection, key, receive)


def _came_from(connection: HTTPConnection) -> dict[str, str]:
    """Return where a request comes from, for the log, and for the audit of the calls that it makes in here."""
    return {ADDRESS: connection.client.host} if connection.client else {}


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"]
    return path in scope["app"].state.open_paths or path.startswith(OPEN_PREFIX)


def _form_problem(error: CloisterError) -> Problem:
    problem = error_to_problem(error)
    if not isinstance(error, UnauthenticatedError):
        return problem
    told = {"title": "Your session is over", "detail": "nothing of it was taken", "hint": _LOG_IN}
    return problem.model_copy(update=told)


def _refusal(connection: HTTPConnection, error: CloisterError) -> Response:
    """Send a browser that wants a page to where it can log in; tell everybody else what is wrong, forms by a page."""
    show = getattr(connection.scope["app"].state, "show_problem", None)
    if show is not None and sends_form(connection):
        page: Response = show(Request(connection.scope), _form_problem(error))
        return page
    if not isinstance(error, UnauthenticatedError) or not wants_page(connection):
        return problem_response(error)
    path, query = connection.scope["path"], connection.url.query
    wanted = quote(f"{path}?{query}" if query else path, safe="/")
    return RedirectResponse(f"{LOGIN}?next={wanted}", 303, headers={"Cache-Control": "no-store"})
