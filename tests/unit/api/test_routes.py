"""Every route, as it is told of by the application itself: a new one cannot be forgotten."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from cloister.api.app import PREFIX, ROUTERS, make_app
from cloister.api.caller import Caller
from cloister.api.in_process import InProcessTransport
from cloister.model.token import Role

pytestmark = pytest.mark.anyio

CALLERS = {role: Caller(name=role.name, role=role) for role in Role}


async def _by_header(request: HTTPConnection) -> Caller:
    return CALLERS[Role[request.headers["x-role"]]]


APP = make_app(None, None, _by_header)  # type: ignore[arg-type]  # who is let in meets a bug, who is not never comes so far


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://here", transport=InProcessTransport(APP))


def _roles(dependant: Dependant) -> Iterator[Role]:
    for below in dependant.dependencies:
        if (role := getattr(below.call, "role", None)) is not None:
            yield role
        yield from _roles(below)


ROUTES = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
@pytest.mark.parametrize("role", Role)
async def test_only_who_has_the_role_of_a_route_is_let_in(route: APIRoute, role: Role) -> None:
    (needed,) = _roles(route.dependant)
    path = PREFIX + route.path.replace("{task}", "t").replace("{name}", "n").replace("{key}", "k").replace(
        "{token}", "x"
    )
    async with _client() as client:
        try:
            answer = await client.request(min(route.methods), path, headers={"X-Role": role.name})
        except AttributeError:  # of the front door that is not there
            assert role.includes(needed)
        else:
            assert (answer.status_code == 403) is not role.includes(needed)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
async def test_a_viewer_changes_nothing(route: APIRoute) -> None:
    assert min(route.methods) == "GET" or next(_roles(route.dependant)) != Role.VIEWER


async def test_the_document_names_every_route() -> None:
    async with _client() as client:
        document = (await client.get(f"{PREFIX}/openapi.json", headers={"X-Role": "VIEWER"})).json()
    assert set(document["paths"]) == {PREFIX + route.path for route in ROUTES}
