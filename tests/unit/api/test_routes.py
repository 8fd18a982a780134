"""Every route, as it is told of by the application itself: a new one cannot be forgotten."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.routing import Match

from cloister.api.app import described, make_app
from cloister.api.body_limit import MOST_BODY_BYTES
from cloister.api.caller import Caller
from cloister.api.document import document_to_text
from cloister.api.in_process import InProcessTransport
from cloister.api.routes import PARTS, Part, all_routers
from cloister.api.wire import PREFIX
from cloister.model.token import Role

from .nobody import access_of_nobody

pytestmark = pytest.mark.anyio

CALLERS = {role: Caller(name=role.name, role=role) for role in Role}


async def _by_header(request: HTTPConnection) -> Caller:
    return CALLERS[Role[request.headers["x-role"]]]


NOBODY, AUDIT = access_of_nobody()
APP = make_app(None, NOBODY, _by_header)  # type: ignore[arg-type]  # who is let in meets a bug, who is not never comes so far


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://here", transport=InProcessTransport(APP))


def _roles(dependant: Dependant) -> Iterator[Role]:
    for below in dependant.dependencies:
        if (role := getattr(below.call, "role", None)) is not None:
            yield role
        yield from _roles(below)


ROUTES = [route for router in all_routers() for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
@pytest.mark.parametrize("role", Role)
async def test_only_who_has_the_role_of_a_route_is_let_in(route: APIRoute, role: Role) -> None:
    (needed,) = _roles(route.dependant)
    path = PREFIX + route.path.replace("{task}", "t").replace("{name}", "n").replace("{key}", "k").replace(
        "{token}", "x"
    ).replace("{session}", "s")
    async with _client() as client:
        try:
            answer = await client.request(min(route.methods), path, headers={"X-Role": role.name})
        except AttributeError:  # of the front door that is not there
            assert role.includes(needed)
        else:
            assert (answer.status_code == 403) is not role.includes(needed)


OWN = {"/notifications/devices", "/notifications/receivers/{receiver}", "/notifications/receivers/{receiver}/test"}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{min(route.methods)} {route.path}")
async def test_a_viewer_changes_nothing_but_what_is_theirs_alone(route: APIRoute) -> None:
    assert min(route.methods) == "GET" or next(_roles(route.dependant)) != Role.VIEWER or route.path in OWN


async def test_the_document_names_every_route() -> None:
    async with _client() as client:
        document = (await client.get(f"{PREFIX}/openapi.json", headers={"X-Role": "VIEWER"})).json()
    assert set(document["paths"]) == {PREFIX + route.path for route in ROUTES}


async def test_the_document_says_how_to_call_and_how_errors_look() -> None:
    document = APP.openapi()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ROUTES)
    assert document["paths"][f"{PREFIX}/tasks"]["post"]["operationId"] == "tasks_create"
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert all(operation["security"] == [{"token": []}] for operation in operations)
    assert "HTTPValidationError" not in json.dumps(document), "what is invalid is a problem too"


def test_the_document_beside_the_pages_is_this_one() -> None:
    kept = Path(__file__).parents[3] / "docs/reference/openapi.json"
    assert kept.read_text() == document_to_text(described()), "write it anew: ./dev openapi"


def test_errors_are_told_of_as_what_they_are() -> None:
    document = described().openapi()
    for path in document["paths"].values():
        for operation in path.values():
            for status in ("422", "default"):
                assert [*operation["responses"][status]["content"]] == ["application/problem+json"]


@pytest.mark.parametrize(
    ("path", "answered"),
    [("/images", "DELETE, GET, POST"), ("/sessions/current", "GET"), ("/sessions/0123456789ab", "DELETE")],
)
async def test_what_a_place_answers_is_said_to_who_asks_for_more(path: str, answered: str) -> None:
    async with _client() as client:
        answer = await client.patch(f"{PREFIX}{path}", headers={"X-Role": "ADMIN"})
    assert (answer.status_code, answer.headers["Allow"]) == (405, answered)


async def _too_much() -> AsyncIterator[bytes]:
    yield b"x" * (MOST_BODY_BYTES + 1)


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
async def test_a_body_that_is_too_large_is_a_problem(told: bool) -> None:
    content = b"x" * (MOST_BODY_BYTES + 1) if told else _too_much()
    headers = {"X-Role": "ADMIN", "Content-Type": "application/json"}
    async with _client() as client:
        answer = await client.post(f"{PREFIX}/tasks", headers=headers, content=content)
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
        twin = await client.post(f"{PREFIX}/tasks", headers=headers, content=b"x" * MOST_BODY_BYTES)
        assert twin.status_code == 422, "the largest is read, and found to be no JSON"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.router.tags[0])
def test_a_part_is_found_by_the_paths_of_all_its_routes(part: Part) -> None:
    for route in part.router.routes:
        assert isinstance(route, APIRoute)
        scope = {"type": "http", "method": min(route.methods), "path": PREFIX + route.path}
        assert part.matches(scope)[0] is Match.FULL


def test_a_command_loads_no_part_that_it_does_not_ask() -> None:
    script = (
        "import sys; from cloister.api import app;"
        "print([name for name in sys.modules if name in ('cloister.api.tasks', 'cloister.api.secrets')])"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout == b"[]\n"
