"""The routes of the API, by parts, each of which is loaded when a path of its is asked for: most commands need one."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib import import_module
from typing import Any

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from cloister.api.operation import operation_id
from cloister.api.problem import Problem
from cloister.api.wire import PREFIX

_ERRORS: dict[int | str, dict[str, Any]] = {
    "default": {"model": Problem, "description": "An error."},
    422: {"model": Problem, "description": "The request is not as it is described here."},
}
_BEARER = HTTPBearer(
    scheme_name="token", auto_error=False, description="A token. At the socket of the state directory none is needed."
)
"""For the document alone: the gate knows callers."""


class Part(BaseRoute):
    """The routes of one module, all of which are below `places`. It has no state, so that applications share it."""

    def __init__(self, module: str, *places: str) -> None:
        self._module = module
        self._places = tuple(PREFIX + place for place in places or (f"/{module}",))

    @cached_property
    def router(self) -> APIRouter:
        """The routes, without what is before and around all."""
        router: APIRouter = import_module(f"cloister.api.{self._module}").router
        return router

    @cached_property
    def _route(self) -> BaseRoute:
        whole = APIRouter()
        include(whole, self.router)
        (route,) = whole.routes
        return route

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Say whether one of the routes answers."""
        path = f"{scope.get('path', '')}/"
        if not any(path.startswith(f"{place}/") for place in self._places):
            return Match.NONE, {}
        return self._route.matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await self._route.handle(scope, receive, send)


PARTS: Sequence[Part] = (
    Part("tasks"),
    Part("pull_requests", "/tasks"),
    Part("reviews", "/reviews", "/tasks"),
    Part("archive", "/tasks"),
    Part("environments"),
    Part("agents"),
    Part("images"),
    Part("workers"),
    Part("bundles"),
    Part("models"),
    Part("previews", "/previews", "/imports"),
    Part("schedules"),
    Part("secrets"),
    Part("snapshots"),
    Part("forge"),
    Part("webhooks"),
    Part("notifications"),
    Part("tokens"),
    Part("sessions"),
    Part("audit"),
    Part("users"),
    Part("statistics"),
)


def load_all() -> None:
    """Load now what the first requests would wait for; in any thread."""
    for _ in all_routers():
        pass


def all_routers() -> Iterator[APIRouter]:
    """Return the routes of all parts."""
    return (part.router for part in PARTS)


def include(whole: APIRouter, router: APIRouter) -> None:
    """Add the routes of a part, where and as all are answered."""
    whole.include_router(
        router,
        prefix=PREFIX,
        responses=_ERRORS,
        dependencies=[Security(_BEARER)],
        generate_unique_id_function=operation_id,
    )
