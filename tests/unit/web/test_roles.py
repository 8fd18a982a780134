"""Every page, as the application itself tells of it: each wants one role, and a viewer's pages change nothing."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from cloister.api.app import make_app
from cloister.api.caller import Caller
from cloister.api.in_process import InProcessTransport
from cloister.model.token import Role
from cloister.web.routes import OPEN_ROUTERS, ROUTERS, add_web

from ..api.nobody import access_of_nobody

pytestmark = pytest.mark.anyio


async def _by_header(request: HTTPConnection) -> Caller:
    return Caller(name="somebody", role=Role(request.headers["x-role"]))


NOBODY, _ = access_of_nobody()
APP = make_app(None, NOBODY, _by_header, additions=(add_web,))  # type: ignore[arg-type]  # who is let in meets a bug
OWN = {"/sessions/end", "/notifications/choose", "/notifications/remove", "/notifications/test"}
"""What a viewer may change: what is theirs alone."""
ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
OPEN = [route for router in OPEN_ROUTERS for route in router.routes if isinstance(route, APIRoute)]


def _roles(dependant: Dependant) -> Iterator[Role]:
    for below in dependant.dependencies:
        if (role := getattr(below.call, "role", None)) is not None:
            yield role
        yield from _roles(below)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
@pytest.mark.parametrize("role", Role)
async def test_only_who_has_the_role_of_a_page_is_let_in(route: APIRoute, role: Role) -> None:
    (needed,) = _roles(route.dependant)
    assert min(route.methods) == "GET" or needed is not Role.VIEWER or route.path in OWN
    path = route.path.replace("{task}", "t")
    body = {"prompt": "x", "task": "t", "name": "n"}
    async with httpx.AsyncClient(base_url="http://here", transport=InProcessTransport(APP)) as client:
        try:
            answer = await client.request(
                min(route.methods), path, headers={"X-Role": role}, params={"name": "n"}, data=body
            )
        except AttributeError:  # of the front door that is not there
            assert role.includes(needed)
        else:
            assert (answer.status_code == 403) is not role.includes(needed)
            if answer.status_code == 403:
                assert answer.headers["Content-Type"].startswith("text/html"), "a refusal is a page too"


def test_open_pages_show_nothing_of_an_installation() -> None:
    assert {route.path for route in OPEN} == {
        "/static/{digest}/{name}",
        "/login",
        "/manifest.webmanifest",
        "/service-worker.js",
    }
    assert all(not list(_roles(route.dependant)) and route.methods == {"GET"} for route in OPEN)
