"""A check of what is in the editor: by that text, with the secrets of the environment it is of, and nothing stored."""

import pytest

from cloister.agents.check import CheckAgent
from cloister.model.request import EnvironmentText
from cloister.model.token import Role

from ..cli import conftest
from .conftest import Server
from .test_pages import read, send, visitor

pytestmark = pytest.mark.anyio

TEXT = '[setup]\nautomatic = false\n[variables]\nCOLOR = "blue"\n'
CHECK = "/environments/-/check"


@pytest.fixture(autouse=True)
def with_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "AGENTS", (*conftest.AGENTS, CheckAgent()))


async def test_a_text_is_checked_as_it_stands_and_is_not_stored(server_without_worker: Server) -> None:
    server = server_without_worker
    intake = server.application.intake
    stored = EnvironmentText(source="a test", raw=b'[variables]\nCOLOR = "red"\n')
    await intake.environments.create("web", stored)
    async with visitor(server, Role.ADMIN) as http:
        wrong = read(await send(http, f"{CHECK}/begin", text="a = 1 = 2", repository=server.repository))
        assert "line 1" in wrong.text, "what is wrong is said, and the text is there"
        form = await send(http, CHECK, text=TEXT, name="web", base="1", **{"f:network.agent": "limited", "was": "{}"})
        assert "limited" in form.text, "what the form says is in the text, with scripts or without"
        for name, text in (("web", TEXT), ("", TEXT), ("web", f'name = "other"\n{TEXT}')):
            page = await send(http, f"{CHECK}/begin", text=text, name=name, repository=server.repository)
            assert page.url.path.startswith(f"{CHECK}/") and "not stored by that" in read(page).text
            task = (await intake.task(page.url.path.rpartition("/")[2])).task
            assert task.environment.variables == {"COLOR": "blue"}
            own = {"web": "web", "": server.repository.removesuffix("/.git")}[name]
            assert task.environment.name.startswith("other" if "other" in text else own)
            assert (await http.get(f"{page.url.path}/report")).status_code == 200
        task = await intake.submit(server.request())
        assert (await http.get(f"{CHECK}/{task.id}")).status_code == 404, "another task is no check"
        assert (await intake.environments.get("web")).version == 1
    async with visitor(server, Role.MEMBER) as http:
        assert (await send(http, f"{CHECK}/begin", text=TEXT, repository=server.repository)).status_code == 403
