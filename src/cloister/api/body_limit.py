"""The largest body of a request; starlette's own limit answers with what is no problem document."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloister.api.forge_webhook import MOST_WEBHOOK_BYTES
from cloister.api.problem_answers import http_problem_response
from cloister.github_settings import GITHUB_WEBHOOK
from cloister.model.bundle import LARGEST_BYTES

MOST_BODY_BYTES = 64 * 1024 * 1024
"""A patch of the largest size in base64, and the rest of a request."""

_BUNDLES = "/api/v1/bundles/"
"""Whose bodies are read as they come, and held by nobody."""


class BodyLimit:
    """An ASGI application in front of another, which reads no more of a body than that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with why not."""
        most = _most(scope)
        too_large = f"the body of such a request has at most {most // 1024**2} MiB"
        if _length(scope) > most:
            await http_problem_response(413, too_large)(scope, receive, send)
            return
        read = 0

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, too_large)
            return message

        await self._app(scope, receive_some, send)


def _most(scope: Scope) -> int:
    path: str = scope.get("path", "")
    if path == GITHUB_WEBHOOK:
        return MOST_WEBHOOK_BYTES
    return LARGEST_BYTES if path.startswith(_BUNDLES) else MOST_BODY_BYTES


def _length(scope: Scope) -> int:
    """Return what the request says; 0 when it says nothing that can be read."""
    headers = dict(scope.get("headers", ()))
    text = headers.get(b"content-length", b"0")
    return int(text) if text.isdigit() else 0
