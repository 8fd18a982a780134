"""The application: every route, for callers that one authentication knows."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

import anyio
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig

from cloister.access import Access
from cloister.api.body_limit import BodyLimit
from cloister.api.caller import Authenticate
from cloister.api.document import describe
from cloister.api.gate import Gate
from cloister.api.operation import operation_id
from cloister.api.problem_answers import answer_with_problems
from cloister.api.routes import PARTS, all_routers, include
from cloister.api.wire import PREFIX
from cloister.automation import Automation
from cloister.intake import Intake
from cloister.settings import Settings

_SAYS_NOTHING: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
"""The framework tells nobody of requests: `cloister.telemetry` does. It would look at each for whoever listens."""


def make_app(
    intake: Intake,
    access: Access,
    authenticate: Authenticate,
    additions: Sequence[Callable[[FastAPI], None]] = (),
    *,
    automation: Automation | None = None,
    settings: Settings | None = None,
) -> FastAPI:
    """Return the application for whoever `authenticate` knows. It has no state of its own.

    Each of `additions` adds what is answered beside the API proper.
    """
    app = _new_app()
    app.openapi = _document  # type: ignore[method-assign]  # as FastAPI's own documentation says
    app.router.routes.extend(PARTS)
    app.state.intake = intake
    app.state.access = access
    app.state.automation = automation
    app.state.settings = settings
    app.state.open_paths = frozenset({"/healthz"})  # those of them that need no caller
    app.state.under_way = set()  # digests of request keys
    app.state.ending = anyio.Event()  # set by who serves it; ends event streams
    app.add_middleware(BodyLimit)
    app.add_middleware(Gate, authenticate=authenticate, audit=access.audit, public_url=access.public_url)
    for add in additions:
        add(app)
    app.add_api_route("/healthz", _say_well, include_in_schema=False)
    answer_with_problems(app)
    return app


def described() -> FastAPI:
    """Return the routes of the API and their document, with nothing behind them."""
    app = _new_app()
    for router in all_routers():
        include(app.router, router)
    describe(app)
    return app


@cache
def _document() -> dict[str, Any]:
    """Return the document. Whoever does not ask for it does not wait for it."""
    return described().openapi()


def _new_app() -> FastAPI:
    return FastAPI(
        title="Cloister",
        version=version("cloister"),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        telemetry=_SAYS_NOTHING,
        generate_unique_id_function=operation_id,
    )


async def _say_well() -> dict[str, str]:
    return {"status": "ok"}
