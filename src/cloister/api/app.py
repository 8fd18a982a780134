"""The application: every route, for callers that one authentication knows."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import anyio
from fastapi import APIRouter, FastAPI, Security
from fastapi.security import HTTPBearer
from fastapi.telemetry import TelemetryConfig

from cloister.access import Access
from cloister.api import (
    agents,
    archive,
    audit,
    bundles,
    environments,
    forge,
    images,
    models,
    notifications,
    previews,
    pull_requests,
    reviews,
    schedules,
    secrets,
    sessions,
    snapshots,
    statistics,
    tasks,
    users,
    webhooks,
    workers,
)
from cloister.api import tokens as token_routes
from cloister.api.body_limit import BodyLimit
from cloister.api.caller import Authenticate
from cloister.api.document import describe
from cloister.api.gate import Gate
from cloister.api.operation import operation_id
from cloister.api.problem import Problem
from cloister.api.problem_answers import answer_with_problems
from cloister.api.wire import PREFIX
from cloister.automation import Automation
from cloister.intake import Intake
from cloister.settings import Settings

ROUTERS = tuple(
    part.router
    for part in (
        tasks,
        pull_requests,
        reviews,
        archive,
        environments,
        agents,
        images,
        workers,
        bundles,
        models,
        previews,
        schedules,
        secrets,
        snapshots,
        forge,
        webhooks,
        notifications,
        token_routes,
        sessions,
        audit,
        users,
        statistics,
    )
)
_ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": Problem, "description": "An error."},
    422: {"model": Problem, "description": "The request is not as it is described here."},
}
_SAYS_NOTHING: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False}
"""The framework tells nobody of requests: `cloister.telemetry` does. It would look at each for whoever listens."""
_BEARER = HTTPBearer(
    scheme_name="token", auto_error=False, description="A token. At the socket of the state directory none is needed."
)
"""For the document alone: the gate knows callers."""


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
    app = described()
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
    app = FastAPI(
        title="Cloister",
        version=version("cloister"),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        telemetry=_SAYS_NOTHING,
        generate_unique_id_function=operation_id,
    )
    api = APIRouter(prefix=PREFIX, responses=_ERRORS, dependencies=[Security(_BEARER)])
    for router in ROUTERS:
        api.include_router(router)
    app.include_router(api)
    describe(app)
    return app


async def _say_well() -> dict[str, str]:
    return {"status": "ok"}
