"""What an operator's programs ask a server, and who may."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import HTTPConnection

from cloister import health
from cloister.api.app import make_app
from cloister.api.caller import Caller
from cloister.api.in_process import InProcessTransport
from cloister.api.operations import MetricsReaders, add_operations
from cloister.errors import StoreError, UnauthenticatedError
from cloister.health import Health
from cloister.model.token import Role

from .nobody import access_of_nobody

pytestmark = pytest.mark.anyio


async def _by_header(request: HTTPConnection) -> Caller:
    if "x-role" not in request.headers:
        raise UnauthenticatedError("a token is needed")
    return Caller(name="somebody", role=Role[request.headers["x-role"]])


async def _page(accept: str) -> tuple[bytes, str]:
    return b"numbers 1\n", f"text/plain; for={accept}"


async def _well() -> None: ...


@asynccontextmanager
async def _client(
    state: Path,
    *,
    readers: MetricsReaders = "admin",
    look: Callable[[], Awaitable[Any]] = _well,
    has_egress: bool = True,
    works: bool = True,
) -> AsyncIterator[httpx.AsyncClient]:
    nobody, _ = access_of_nobody()
    app = make_app(None, nobody, _by_header)  # type: ignore[arg-type]
    well = Health(state=state, look_at_database=look, has_egress=lambda: has_egress)
    add_operations(app, health=well, page=_page, readers=readers)
    async with httpx.AsyncClient(base_url="http://here", transport=InProcessTransport(app)) as client:
        if not works:
            yield client
            return
        with well.at_work():
            yield client


@pytest.mark.parametrize(
    ("readers", "role", "status"),
    [
        ("admin", None, 401),
        ("admin", Role.VIEWER, 403),
        ("admin", Role.MEMBER, 403),
        ("admin", Role.ADMIN, 200),
        ("viewer", None, 401),
        ("viewer", Role.VIEWER, 200),
        ("open", None, 200),
        ("off", Role.ADMIN, 404),
    ],
)
async def test_metrics_are_for_whom_the_settings_say(
    tmp_path: Path, readers: MetricsReaders, role: Role | None, status: int
) -> None:
    headers = {"Accept": "text/plain"} | ({"X-Role": role.name} if role else {})
    async with _client(tmp_path, readers=readers) as client:
        answer = await client.get("/metrics", headers=headers)
    assert answer.status_code == status
    assert (answer.text == "numbers 1\n") is (status == 200)
    assert (answer.headers["Content-Type"] == "text/plain; for=text/plain") is (status == 200)


async def test_who_is_ready_says_so_without_a_token(tmp_path: Path) -> None:
    async with _client(tmp_path) as client:
        ready = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert (ready.status_code, alive.status_code) == (200, 200)
    assert ready.json() == {
        "status": "ready",
        "checks": {"database": "ok", "worker": "ok", "egress": "ok", "disk": "ok"},
    }


async def _damaged() -> None:
    raise StoreError("/secret/place/cloister.db is damaged")


@pytest.mark.parametrize(
    ("ill", "part"),
    [({"look": _damaged}, "database"), ({"has_egress": False}, "egress"), ({"works": False}, "worker")],
)
async def test_who_lacks_a_part_is_not_ready_and_still_alive(tmp_path: Path, ill: dict[str, Any], part: str) -> None:
    async with _client(tmp_path, **ill) as client:
        ready = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert (ready.status_code, alive.status_code) == (503, 200)
    assert [name for name, said in ready.json()["checks"].items() if said != "ok"] == [part]
    assert "secret" not in ready.text


async def test_a_full_disk_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LEAST_FREE_BYTES", 2**62)
    async with _client(tmp_path) as client:
        assert (await client.get("/readyz")).json()["checks"]["disk"].endswith("MiB are free")
