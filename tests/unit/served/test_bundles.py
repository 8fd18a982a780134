"""Repositories that callers send; and the server's own, which it opens for nobody who calls from elsewhere."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
import httpx
import pytest

from cloister.api import body_limit
from cloister.errors import DeniedError
from cloister.model.bundle import own_bundles
from cloister.model.token import Role

from ..cli.conftest import Installation
from .conftest import Server

pytestmark = pytest.mark.anyio

BUNDLES = "/api/v1/bundles"


async def test_a_command_sends_the_repository_of_its_own_machine(
    server: Server, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOISTER_TOKEN", await server.token(Role.MEMBER))
    asked = ("--server", server.address, "run", "--detach", "--command", "make fix", "fix it")
    ran = await anyio.to_thread.run_sync(installation.run, *asked)
    assert ran.exit_code == 0, ran.output
    async with server.as_owner() as owner:
        [status] = await owner.tasks()
    assert status.task.repository.address.startswith("bundle:") and status.task.repository.directory == "project"
    assert status.task.revision.commit == installation.git("rev-parse", "HEAD").strip()
    assert status.task.revision.ref == "main"
    assert ran.stderr == "", "all of it was committed"
    shown = await anyio.to_thread.run_sync(installation.run, "--server", server.address, "env", "show")
    assert shown.exit_code == 0, shown.output


async def test_a_command_says_what_it_does_not_send(
    server_without_worker: Server, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOISTER_TOKEN", await server_without_worker.token(Role.MEMBER))
    (installation.project / "a.txt").write_text("mine\n")
    (installation.project / "new").touch()
    asked = ("--server", server_without_worker.address, "run", "--detach", "--json", "--command", "true", "fix it")
    ran = await anyio.to_thread.run_sync(installation.run, *asked)
    assert ran.exit_code == 0 and json.loads(ran.stdout), ran.output
    assert ran.stderr == "note: 2 uncommitted files are not part of the task\n"


async def test_what_one_caller_sent_is_no_others(server_without_worker: Server, installation: Installation) -> None:
    server = server_without_worker
    async with server.as_holder(Role.MEMBER) as one, server.as_holder(Role.ADMIN) as other, server.as_owner() as owner:
        sent = await one.send_repository(installation.project)
        task = await one.submit(server.request(repository=sent))
        assert task.repository.address == sent != await other.send_repository(installation.project)
        for ask in (
            lambda: other.submit(server.request(repository=sent)),
            lambda: other.preview(sent, None, None),
            lambda: other.import_environment(sent, None),
        ):
            with pytest.raises(DeniedError, match="sent by somebody else"):
                await ask()
        assert (await owner.preview(sent, None, None)).repository.address == sent
    async with server.as_holder(Role.VIEWER) as viewer:
        with pytest.raises(DeniedError, match="takes a role of member"):
            await viewer.send_repository(installation.project)


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("{project}", 403),
        ("{link}", 403),
        ("//{project}", 403),
        ("file://{project}", 403),
        ("FILE://{project}", 403),
        ("file:{project}", 403),
        ("./project", 422),
        ("~/project", 422),
        ("ext::sh -c touch% {canary}", 422),
        ("ssh://-oProxyCommand=touch${{IFS}}{canary}/x", 422),
        ("-oProxyCommand=touch${{IFS}}{canary}:x", 422),
        ("--upload-pack=touch {canary}", 422),
        ("bundle:../../project", 403),
        ("{own}../project", 422),
        ("{own}.git", 422),
        ("BUNDLE:{project}", 403),
    ],
)
async def test_no_token_opens_a_path_of_the_server(
    server_without_worker: Server, installation: Installation, tmp_path: Path, address: str, status: int
) -> None:
    server, canary = server_without_worker, tmp_path / "canary"
    (link := tmp_path / "link").symlink_to(installation.project)
    _, text = await server.application.tokens.create("a", Role.ADMIN)
    [token] = await server.application.tokens.list()
    own = own_bundles(f"token {token.id}")
    named = address.format(project=installation.project, link=link, canary=canary, own=own)
    async with httpx.AsyncClient(base_url=server.address, headers={"Authorization": f"Bearer {text}"}) as http:
        asked = {"repository": named, "prompt": "x", "command": "true"}
        for path, body in (("tasks", asked), ("previews", {"repository": named}), ("imports", {"repository": named})):
            answer = await http.post(f"/api/v1/{path}", json=body)
            assert answer.status_code == status, (path, answer.text)
        stored = {"name": "web", "text": f"repository = {named!r}\nagent = 'command'\n"}
        assert (await http.post("/api/v1/environments", json=stored)).status_code in (403, 422)
        assert (await http.get("/api/v1/tasks")).json()["items"] == []
    assert not canary.exists()
    async with server.as_owner() as owner:
        twin = await owner.submit(server.request(repository=str(installation.project)))
    assert twin.repository.address == str(installation.project), "its owner may"


@pytest.mark.parametrize("name", ["..", "a%2fb", ".git", "a.git", "-x", "a%00", "a.lock", "%ff", "a" * 101, "a%0ab"])
async def test_a_name_that_could_be_something_else_is_none(server_without_worker: Server, name: str) -> None:
    headers = {"Authorization": f"Bearer {await server_without_worker.token(Role.MEMBER)}"}
    async with httpx.AsyncClient(base_url=server_without_worker.address, headers=headers) as http:
        answer = await http.put(f"{BUNDLES}/{name}", content=b"# v2 git bundle\n")
    assert answer.status_code in (404, 405, 422), answer.text
    assert not [*server_without_worker.application.settings.state.glob("mirrors/*")]


async def _chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1000):
        yield b"x" * 1000


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "in chunks"])
async def test_a_bundle_has_a_largest_size(
    server_without_worker: Server, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    monkeypatch.setattr(body_limit, "LARGEST_BYTES", 100_000)
    headers = {"Authorization": f"Bearer {await server_without_worker.token(Role.MEMBER)}"}
    async with httpx.AsyncClient(base_url=server_without_worker.address, headers=headers) as http:
        for size, status in ((101_000, 413), (100_000, 422)):
            content = b"x" * size if told else _chunks(size)
            answer = await http.put(f"{BUNDLES}/project", content=content)
            assert answer.status_code == status, answer.text
