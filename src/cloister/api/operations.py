"""What an operator's programs ask a server: whether it is well, and its numbers."""

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import FastAPI, Request, Response, status
from fastapi.responses import JSONResponse

from cloister.api.access_log import AccessLog
from cloister.api.caller import requires
from cloister.health import WELL, Health
from cloister.model.token import Role

MetricsPage = Callable[[str], Awaitable[tuple[bytes, str]]]
"""From the value of Accept to a page and its media type."""
MetricsReaders = Literal["open", "viewer", "admin", "off"]


def add_operations(app: FastAPI, *, health: Health, page: MetricsPage | None, readers: MetricsReaders) -> None:
    """Answer both `/readyz` and, where there are numbers, `/metrics`; tell the log of each request."""
    app.add_middleware(AccessLog)
    _add_health(app, health)
    if page is not None:
        _add_metrics(app, page, readers)


def _add_health(app: FastAPI, health: Health) -> None:
    """Answer `/readyz`, without a token."""

    async def say_ready() -> Response:
        found = await health.look()
        ready = all(said == WELL for said in found.values())
        return JSONResponse(
            {"status": "ready" if ready else "not ready", "checks": found},
            status_code=status.HTTP_200_OK if ready else status.HTTP_503_SERVICE_UNAVAILABLE,
        )

    app.state.open_paths |= {"/readyz"}
    app.add_api_route("/readyz", say_ready, include_in_schema=False)


def _add_metrics(app: FastAPI, page: MetricsPage, readers: MetricsReaders) -> None:
    """Answer `/metrics`, as Prometheus wants it, for those whom the settings let read it."""

    async def show(request: Request) -> Response:
        if readers != "open":
            await requires(Role(readers))(request)
        body, media_type = await page(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})

    if readers == "off":
        return
    if readers == "open":
        app.state.open_paths |= {"/metrics"}
    app.add_api_route("/metrics", show, include_in_schema=False)
