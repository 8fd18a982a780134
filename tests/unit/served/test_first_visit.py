"""An empty server: what it says of itself, and the tour that it offers."""

from pathlib import Path

import pytest

from cloister.demo import project
from cloister.demo.tour import PROMPT
from cloister.errors import RepositoryError
from cloister.model.token import Role

from ..cli.conftest import Installation
from .conftest import Server
from .test_pages import read, send, visitor

pytestmark = pytest.mark.anyio


async def test_one_button_gives_the_task_of_the_tour(
    server_without_worker: Server, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, asked = server_without_worker, list[Path]()

    def prepare(folder: Path) -> Path:
        asked.append(folder)
        return installation.project

    monkeypatch.setattr(project, "prepare_project", prepare)
    async with visitor(server, Role.MEMBER) as http:
        assert "Take the tour" in read(await http.get("/")).text
        page = read(await send(http, "/tour"))
        assert PROMPT in page.text
        assert asked == [installation.state / "demo"]
        [status] = await server.application.intake.tasks()
        assert (status.task.asked_by, status.task.agent) == ("MEMBER", "command")
        assert (await server.application.intake.task(status.task.id)).task.sealed_secrets is not None
        assert "Take the tour" not in read(await http.get("/")).text, "it is empty no more"


async def test_without_an_index_it_is_said_and_a_viewer_is_offered_nothing(
    server_without_worker: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(_: Path) -> Path:
        raise RepositoryError("click could not be downloaded")

    monkeypatch.setattr(project, "prepare_project", prepare)
    async with visitor(server_without_worker, Role.MEMBER) as http:
        page = await send(http, "/tour")
        assert page.status_code >= 400
        assert "click could not be downloaded" in read(page).text
    async with visitor(server_without_worker, Role.VIEWER) as http:
        assert "Take the tour" not in read(await http.get("/")).text
        assert (await send(http, "/tour")).status_code == 403
    assert await server_without_worker.application.intake.tasks() == []
