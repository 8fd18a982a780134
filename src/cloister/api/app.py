"""The application: every route, for callers that one authentication knows."""

from collections.abc import Callable, Sequence
from importlib.metadata import version

import anyio
from fastapi import APIRouter, FastAPI

from cloister.api import environments, models, previews, secrets, snapshots, tasks
from cloister.api import tokens as token_routes
from cloister.api.caller import Authenticate
from cloister.api.gate import Gate
from cloister.api.problem import Problem, answer_with_problems
from cloister.intake import Intake
from cloister.tokens import Tokens

PREFIX = "/api/v1"
MOST_BODY_BYTES = 64 * 1024 * 1024
"""A patch of the largest size in base64, and the rest of a request."""
ROUTERS = tuple(part.router for part in (tasks, environments, models, previews, secrets, snapshots, token_routes))


def make_app(
    intake: Intake, tokens: Tokens, authenticate: Authenticate, additions: Sequence[Callable[[FastAPI], None]] = ()
) -> FastAPI:
    """Return the application for whoever `authenticate` knows. It has no state of its own.

    Each of `additions` adds what is answered beside the API proper.
    """
    app = FastAPI(
        title="Cloister",
        version=version("cloister"),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        max_body_size=MOST_BODY_BYTES,
    )
    app.state.intake = intake
    app.state.tokens = tokens
    app.state.ending = anyio.Event()  # set by who serves it; ends event streams
    app.add_middleware(Gate, authenticate=authenticate)
    api = APIRouter(prefix=PREFIX, responses={"default": {"model": Problem, "description": "An error."}})
    for router in ROUTERS:
        api.include_router(router)
    app.include_router(api)
    for add in additions:
        add(app)
    app.add_api_route("/healthz", _say_well, include_in_schema=False)
    answer_with_problems(app)
    return app


async def _say_well() -> dict[str, str]:
    return {"status": "ok"}
