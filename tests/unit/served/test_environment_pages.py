"""Pages of an environment: checks by steps, the cache and why, import, secrets, deletion; and who may do what."""

import html

import httpx
import pytest

from cloister.agents.check import CheckAgent
from cloister.model.phase import Phase
from cloister.model.request import EnvironmentText
from cloister.model.secret import BrokerRule
from cloister.model.token import Role
from cloister.sandboxes.fake import Print, Program

from ..cli import conftest
from ..cli.conftest import Installation
from .conftest import Server
from .test_pages import read, send, visitor

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def with_checks(monkeypatch: pytest.MonkeyPatch, installation: Installation) -> None:
    installation.node.programs["setup"] = Program(steps=[Print(data=b"installing\n")])
    monkeypatch.setattr(conftest, "AGENTS", (*conftest.AGENTS, CheckAgent()))


TEXT = (
    '[secrets]\nKEY = { mode = "brokered", hosts = ["api.example.com"] }\n[setup]\nautomatic = false\nscript = "make"\n'
)
CORPUS = "<img src=x onerror=ring()>"


async def _store(server: Server, text: str = TEXT) -> None:
    await server.application.intake.environments.create("web", EnvironmentText(source="a test", raw=text.encode()))
    rule = BrokerRule(hosts=("api.example.com",), header="Authorization", format="Bearer {}", methods=("GET",))
    await server.application.intake.set_secret("web", "KEY", "hunter2", rule)


async def _checked(http: httpx.AsyncClient, server: Server, **fields: str) -> httpx.Response:
    """Check an environment to its end, and return the check's page."""
    page = await send(http, "/environments/web/check", repository=server.repository, **fields)
    assert page.status_code == 200, read(page).text
    task = page.url.path.rpartition("/")[2]
    await http.get(f"/api/v1/tasks/{task}/events")  # which ends with the task
    return await http.get(page.url.path)


async def test_a_check_shows_its_steps_and_leaves_a_snapshot_with_why(server: Server) -> None:
    await _store(server)
    async with visitor(server, Role.MEMBER) as http:
        assert (
            "first use of this environment"
            in read(await http.get("/environments/web/why", params={"repository": server.repository})).text
        )
        page = await _checked(http, server, use_cache="true")
        shown = read(page).text
        assert all(f" {phase} " in shown for phase in Phase)
        assert "kept for the next task" in shown and "KEY (brokered)" in shown and "Check again" in shown
        part = await http.get(f"{page.url.path}/report")
        assert "<html" not in part.text and "kept for the next task" in part.text
        why = read(await http.get("/environments/web/why", params={"repository": server.repository})).text
        assert "It hits" in why and "setup script" in why and "differs" not in why
        await server.application.intake.environments.edit(
            "web", EnvironmentText(source="x", raw=b"[setup]\nscript='x'\n")
        )
        why = read(await http.get("/environments/web/why", params={"repository": server.repository})).text
        assert "It misses: changed: " in why and "differs" in why
        wrong = await http.get("/environments/web/why", params={"repository": server.repository, "ref": CORPUS})
        assert wrong.status_code == 404 and html.escape(CORPUS) in wrong.text and CORPUS not in wrong.text
        shown = read(await http.get("/environments/web")).text
        assert "Last used" in shown and "Expires in" in shown and "lock files" in shown
        assert "Forget" not in shown, "a member forgets nothing"
    async with visitor(server, Role.ADMIN) as http:
        (record,) = await server.application.intake.snapshots.list()
        other = await send(http, "/environments/other/snapshots/remove", key=record.key)
        assert other.status_code == 404 and len(await server.application.intake.snapshots.list()) == 1
        await send(http, "/environments/web/snapshots/remove", key=record.key)
        assert list(await server.application.intake.snapshots.list()) == []


async def test_a_check_that_cannot_be_is_said_and_tasks_are_no_checks(server_without_worker: Server) -> None:
    server = server_without_worker
    await _store(server)
    async with visitor(server, Role.MEMBER) as http:
        for repository, words in (("/etc", "a path of the server"), (f"{server.repository}/no", "no git repository")):
            refused = await send(http, "/environments/web/check", repository=repository, ref=CORPUS)
            assert refused.status_code in (403, 404) and words in read(refused).text
            assert html.escape(CORPUS) in refused.text and CORPUS not in refused.text, "what was written is there"
        unknown = await send(http, "/environments/nope/check", repository=server.repository)
        assert unknown.status_code == 404
        task = await server.application.intake.submit(server.request())
        assert (await http.get(f"/environments/web/check/{task.id}")).status_code == 404
        assert len(await server.application.intake.tasks()) == 1


async def test_what_a_repository_says_is_imported_into_the_editor(
    server_without_worker: Server, installation: Installation
) -> None:
    server = server_without_worker
    workflows = installation.project / ".github/workflows"
    workflows.mkdir(parents=True)
    steps = f"""\
jobs:
  copilot-setup-steps:
    runs-on: '{CORPUS}'
    steps:
      - run: "make '{CORPUS}'"
"""
    (workflows / "copilot-setup-steps.yml").write_text(steps)
    (installation.project / "requirements.txt").write_text("six\n")
    (installation.project / ".cloister").mkdir()
    (installation.project / ".cloister/environment.toml").write_text("")
    (installation.project / ".openhands").mkdir()
    (installation.project / ".openhands/setup.sh").write_text("make hands\n")
    installation.git("add", ".")
    installation.git("commit", "--quiet", "--message=two")
    installation.git("update-server-info")
    async with visitor(server, Role.ADMIN) as http:
        asked = {"repository": server.repository, "name": "web"}
        page = await http.get("/environments/-/import", params=asked)
        shown = read(page).text
        assert "From .github/workflows/copilot-setup-steps.yml" in shown and "line 5, step 1" in shown
        assert "Not taken line 3, runs-on" in shown and "of its own, which its tasks take" in shown
        assert "pip (requirements.txt)" in shown and CORPUS in shown and CORPUS not in page.text
        other = await http.get("/environments/-/import", params={**asked, "path": ".openhands/setup.sh"})
        assert "make hands" in read(other).text
        text = "[setup]\nscript = 'make'\n"
        editor = await send(http, "/environments/-/form", side="text", name="web", text=text)
        assert text in html.unescape(editor.text) and 'value="web"' in editor.text
        for wrong in ({"path": "/etc/passwd"}, {"ref": "nope"}):
            assert (await http.get("/environments/-/import", params={**asked, **wrong})).status_code == 404
        assert (await http.get("/environments/-/import", params={"repository": "/etc"})).status_code == 403
    async with visitor(server, Role.MEMBER) as http:
        assert (await http.get("/environments/-/import", params=asked)).status_code == 403


async def test_a_repository_that_says_nothing_is_left_to_automatic_setup(server_without_worker: Server) -> None:
    server = server_without_worker
    async with visitor(server, Role.ADMIN) as http:
        page = read(await http.get("/environments/-/import", params={"repository": server.repository})).text
        assert "What automatic setup finds No package manager" in page and "Taken" not in page


async def test_a_secret_gets_another_value_with_its_rule_and_is_never_shown(server_without_worker: Server) -> None:
    server = server_without_worker
    await _store(server)
    async with visitor(server, Role.ADMIN) as http:
        page = await http.get("/environments/web?secret=KEY")
        assert 'value="api.example.com"' in page.text and "by GET" in read(page).text and "hunter2" not in page.text
        fields = {"name": "KEY", "mode": "brokered", "hosts": "api.example.com", "value": "hunter3"}
        changed = await send(http, "/environments/web/secrets", **fields, query="key", paths="/v1 /v2")
        assert "parameter key , below /v1 /v2" in read(changed).text and "hunter3" not in changed.text
        (kept,) = await server.application.intake.secrets("web")
        assert kept.rule == BrokerRule(hosts=("api.example.com",), query="key", paths=("/v1", "/v2"))
        wrong = await send(http, "/environments/web/secrets", **{**fields, "hosts": "com"}, header="X", format="{}")
        assert wrong.status_code == 422 and "hunter3" not in wrong.text
        (kept,) = await server.application.intake.secrets("web")
        assert kept.rule is not None and kept.rule.query == "key"


async def test_who_deletes_is_told_what_is_lost(server: Server) -> None:
    await _store(server)
    async with visitor(server, Role.ADMIN) as http:
        await _checked(http, server, use_cache="true")
        page = read(await http.get("/environments/web/delete")).text
        assert "1 snapshot" in page and "1 secret" in page and "KEY" in page and "schedules" not in page
        kept = await send(http, "/environments/web/delete")
        assert kept.status_code == 409 and "has secrets: KEY" in read(kept).text
        assert len(await server.application.intake.environments.list()) == 1
        gone = await send(http, "/environments/web/delete", with_secrets="true")
        assert gone.url.path == "/environments"
        assert list(await server.application.intake.environments.list()) == []
        assert list(await server.application.intake.snapshots.list()) == []


MEMBERS = ("/environments/web/check",)
ADMINS = ("/environments/web/snapshots/remove", "/environments/web/reset-cache", "/environments/web/secrets",
          "/environments/web/secrets/remove", "/environments/web/delete", "/environments/-/form")  # fmt: skip


async def test_no_form_is_taken_from_a_page_of_elsewhere_or_from_a_lesser_role(server_without_worker: Server) -> None:
    server = server_without_worker
    await _store(server)
    fields = {"repository": server.repository, "key": "a", "name": "KEY", "secret": "KEY", "value": "x",
              "with_secrets": "true", "text": ""}  # fmt: skip
    for role, refused in ((Role.VIEWER, (*MEMBERS, *ADMINS)), (Role.MEMBER, ADMINS)):
        async with visitor(server, role) as http:
            for address in refused:
                assert (await send(http, address, **fields)).status_code == 403, (role, address)
    async with visitor(server, Role.ADMIN) as http:
        for address in (*MEMBERS, *ADMINS):
            assert (await http.post(address, data=fields)).status_code == 403, address
    intake = server.application.intake
    assert [secret.name for secret in await intake.secrets("web")] == ["KEY"]
    assert list(await intake.tasks()) == [] and len(await intake.environments.list()) == 1
