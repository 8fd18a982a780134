"""The gate of the application: nothing of a request's body is read before it is known who calls."""

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from cloister.api.caller import Authenticate
from cloister.api.problem import problem_response
from cloister.errors import CloisterError


class Gate:
    """An ASGI application in front of another, which finds the caller in `request.state.caller`."""

    def __init__(self, app: ASGIApp, authenticate: Authenticate) -> None:
        self._app = app
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with why not."""
        if scope["type"] != "http" or scope["path"] in scope["app"].state.open_paths:
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        try:
            caller = await self._authenticate(connection)
        except CloisterError as error:
            await problem_response(error)(scope, receive, send)
            return
        connection.state.caller = caller
        with bound_contextvars(caller=caller.name):
            await self._app(scope, receive, send)
