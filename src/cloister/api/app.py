"""The application: every route, for callers that one authentication knows."""

from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from cloister.api import environments, previews, secrets, snapshots, tasks
from cloister.api.caller import Authenticate
from cloister.api.problem import Problem, answer_with_problems
from cloister.intake import Intake

PREFIX = "/api/v1"
ROUTERS = tuple(part.router for part in (tasks, environments, previews, secrets, snapshots))


def make_app(intake: Intake, authenticate: Authenticate) -> FastAPI:
    """Return the application for whoever `authenticate` knows. It has no state of its own."""
    app = FastAPI(
        title="Cloister",
        version=version("cloister"),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.intake = intake
    app.state.authenticate = authenticate
    api = APIRouter(prefix=PREFIX, responses={"default": {"model": Problem, "description": "An error."}})
    for router in ROUTERS:
        api.include_router(router)
    app.include_router(api)
    answer_with_problems(app)
    return app
