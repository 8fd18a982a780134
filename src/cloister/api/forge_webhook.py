"""`/webhooks/github`: GitHub tells of what happens there. Nothing of a body is read before its signature is right."""

import re
from http import HTTPStatus

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from cloister.errors import NotFoundError, UnauthenticatedError
from cloister.github_settings import GITHUB_WEBHOOK
from cloister.triggers.inbox import Inbox
from cloister.triggers.signature import is_signed

MOST_WEBHOOK_BYTES = 5 * 1024 * 1024
"""What is read of a delivery. GitHub sends up to 25 MB, and of what Cloister acts on a fraction of a megabyte."""
MOST_BYTES_AT_ONCE = 64 * 1024 * 1024
"""What is held of all bodies that are arriving, whoever sends them: their signatures come with their ends."""
READ_SECONDS = 10.0
"""GitHub itself waits no longer for an answer."""
_KIND = re.compile(r"[a-z0-9_]{1,64}")
_DELIVERY = re.compile(r"[0-9A-Za-z-]{8,64}")


def add_forge_webhook(app: FastAPI) -> None:
    """Answer it. The signature is what lets a caller in."""
    app.state.open_paths |= {GITHUB_WEBHOOK}
    app.add_api_route(GITHUB_WEBHOOK, _take, methods=["POST"], include_in_schema=False)


async def _take(request: Request) -> Response:
    inbox: Inbox = request.app.state.automation.inbox
    try:
        id, kind, body = await _judge(request, inbox)
    except (HTTPException, NotFoundError, UnauthenticatedError):
        inbox.watcher.arrived("refused", None)
        raise
    if kind not in inbox.kinds:
        inbox.watcher.arrived("ignored", kind)
        return _answer(id, "ignored")
    is_new = await inbox.take(id, kind, body)
    return _answer(id, "accepted" if is_new else "known")


async def _judge(request: Request, inbox: Inbox) -> tuple[str, str, bytes]:
    """Return id, kind and body of a delivery that is signed."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "deliveries are taken as application/json; say so in the webhook's settings")
    id, kind = _header(request, "x-github-delivery", _DELIVERY), _header(request, "x-github-event", _KIND)
    secrets = await inbox.secrets.all()
    if not secrets:
        raise NotFoundError(
            "this server takes no deliveries: it knows no secret of a webhook",
            hint="give it one: cloister github set-webhook-secret",
        )
    signatures = request.headers.getlist("x-hub-signature-256")
    body = await _read(request, inbox)
    if len(signatures) != 1 or not is_signed(body, signatures[0], secrets):
        raise UnauthenticatedError(
            "the delivery is not signed with the secret of this server's webhook (X-Hub-Signature-256)",
            hint="give both the same: cloister github set-webhook-secret",
        )
    return id, kind, body


async def _read(request: Request, inbox: Inbox) -> bytes:
    """Return a body, of which `BodyLimit` lets no more through than it may have; 503 while too many others arrive."""
    body = bytearray()
    try:
        with anyio.fail_after(READ_SECONDS):
            async for part in request.stream():
                body += part
                inbox.arriving += len(part)
                if inbox.arriving > MOST_BYTES_AT_ONCE:
                    raise HTTPException(503, "too many deliveries arrive at once", {"Retry-After": "10"})
    except TimeoutError:
        raise HTTPException(408, f"the delivery did not arrive within {READ_SECONDS:g} s") from None
    finally:
        inbox.arriving -= len(body)
    return bytes(body)


def _answer(id: str, status: str) -> Response:
    return JSONResponse({"delivery": id, "status": status}, status_code=HTTPStatus.ACCEPTED)


def _header(request: Request, name: str, pattern: re.Pattern[str]) -> str:
    values = request.headers.getlist(name)
    if len(values) != 1 or not pattern.fullmatch(values[0]):
        raise HTTPException(400, f"a delivery has one {name}")
    return values[0]
