"""The form for a task, as a browser without scripts sends it: with files, and with the key of its pages before them."""

import base64

import httpx
import pytest

from cloister.model.audit import AuditFilter
from cloister.model.network import NetworkMode
from cloister.model.request import EnvironmentText
from cloister.model.token import Role

from ..cli.conftest import DIFF, Installation
from .conftest import Machine, Server
from .test_pages import read, visitor

pytestmark = pytest.mark.anyio

PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ASKED = {"prompt": "Fix *it*", "agent": "command", "command": "make fix"}


async def _key(http: httpx.AsyncClient) -> str:
    return read(await http.get("/tasks/new")).fields["page_key"]


def _body(boundary: str, *parts: tuple[str, str]) -> bytes:
    """Return a form as browsers write one."""
    fields = (f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n" for name, value in parts)
    return ("".join(fields) + f"--{boundary}--\r\n").encode()


async def test_a_form_with_files_is_refused_unless_its_first_part_is_the_key(server_without_worker: Server) -> None:
    server = server_without_worker
    async with visitor(server, Role.MEMBER) as http:
        key = await _key(http)
        rest = [(f'name="{name}"', value) for name, value in {**ASKED, "repository": server.repository}.items()]
        mine = ('name="page_key"', key)
        keyless = {
            "none": _body("b", *rest),
            "another": _body("b", ('name="page_key"', "x" * len(key)), *rest),
            "empty": _body("b", ('name="page_key"', ""), *rest),
            "last": _body("b", *rest, mine),
            "a file": _body("b", (f'{mine[0]}; filename="x"', key), *rest),
            "another name": _body("b", ('name="page_keys"', key), *rest),
            "before the first": b"\r\n" + _body("b", mine, *rest),
            "another boundary": _body("c", mine, *rest),
            "far away": _body("b", ('name="x"', "x" * 5000), mine, *rest),
        }
        for why, content in keyless.items():
            kind = {"Content-Type": "multipart/form-data; boundary=b"}
            assert (await http.post("/tasks", content=content, headers=kind)).status_code == 403, why
        nameless = {"Content-Type": "multipart/form-data"}
        assert (await http.post("/tasks", content=_body("", mine, *rest), headers=nameless)).status_code == 403
        assert list(await server.application.intake.tasks()) == []
        kind = {"Content-Type": 'multipart/form-data; boundary="b"'}
        taken = await http.post("/tasks", content=_body("b", mine, *rest), headers=kind)
        assert taken.status_code == 200, "with the key it does"
        assert len(await server.application.intake.tasks()) == 1


async def test_files_pictures_and_a_patch_come_with_a_task(server_without_worker: Server) -> None:
    server = server_without_worker
    intake = server.application.intake
    async with visitor(server, Role.ADMIN) as http:
        fields = {"page_key": await _key(http), **ASKED, "repository": server.repository, "priority": "high"}
        files = [
            ("files", ("shot.png", PICTURE)),
            ("files", ("notes.txt", b"x" * 200_000)),
            ("files", ("", b"")),  # what a browser sends when nothing is chosen
            ("patch_file", ("fix.diff", DIFF)),
        ]
        assert (await http.post("/tasks", data=fields, files=files)).status_code == 200
        (listed,) = await intake.tasks()
        status = await intake.task(listed.task.id)
        assert [(file.name, file.image) for file in status.task.files] == [("shot.png", True), ("notes.txt", False)]
        assert status.task.patch == DIFF
        assert (status.task.prompt, status.task.priority) == ("Fix *it*", "high")
        pasted = DIFF.decode().rstrip().replace("\n", "\r\n")
        fields["patch"] = pasted
        assert (await http.post("/tasks", data=fields, files=[("patch_file", ("", b""))])).status_code == 200
        newest, *_ = await intake.tasks()
        assert (await intake.task(newest.task.id)).task.patch == DIFF, "as it was before it was pasted"
        entries = await server.application.access.audit.list(AuditFilter(), limit=50)
        assert entries[0].about["repository"] == server.repository
        assert "patch" in entries[0].fields and "page_key" not in entries[0].fields


async def test_what_is_wrong_with_files_is_said_and_nothing_is_accepted(server_without_worker: Server) -> None:
    server = server_without_worker
    async with visitor(server, Role.MEMBER) as http:
        fields = {"page_key": await _key(http), **ASKED, "repository": server.repository}
        many = [("files", (f"{number}.txt", b"x")) for number in range(21)]
        large = [("files", ("large.bin", b"x" * (10 * 1024 * 1024 + 1)))]
        patch = [("patch_file", ("fix.diff", b"no diff"))]
        for files, words in ((many, "at most 20"), (large, "at most 10.0 MiB"), (patch, "diff")):
            page = await http.post("/tasks", data=fields, files=files)
            assert page.status_code == 422, page.text
            assert words in read(page).text
            assert "Fix *it*" in page.text, "what was written is still there"
        high = await http.post("/tasks", data={**fields, "priority": "high"}, files=[("files", ("", b""))])
        assert high.status_code == 403 and "takes a role of admin" in read(high).text
        assert ">high<" not in (await http.get("/tasks/new")).text, "so it is not offered"
        assert list(await server.application.intake.tasks()) == []


async def test_the_operators_bounds_are_said_before_anything_is_sent(machine: Machine) -> None:
    bounded = machine.server(works=False, network_agent=NetworkMode.LIMITED)
    async with bounded as server, visitor(server, Role.MEMBER) as http:
        asked = {"repository": server.repository, "internet": "full", "model": "openai/gpt-5"}
        page = read(await http.get("/tasks/new/preview", params=asked)).text
        assert "network.agent is full, and the operator's network_agent gives limited at most" in page
        assert "Network limited" in page and "openai/gpt-5" in page
        form = await http.get("/tasks/new")
        assert "The operator gives limited at most" in read(form).text
        assert "<option disabled>full</option>" in form.text


async def test_what_is_not_there_yet_is_said_before_anything_is_sent(server_without_worker: Server) -> None:
    server, text = (
        server_without_worker,
        b'repository = "https://git.example/a.git"\n[secrets]\nKEY = { mode = "setup" }\n',
    )
    await server.application.intake.environments.create("web", EnvironmentText(source="a test", raw=text))
    async with visitor(server, Role.MEMBER) as http:
        asked = {"repository": server.repository, "environment": "web", "agent": "robot"}
        page = read(await http.get("/tasks/new/preview", params=asked)).text
        assert 'value="https://git.example/a.git"' in (await http.get("/tasks/new")).text
        assert "no value is kept for KEY" in page and "'robot' is not installed" in page and "environment web" in page
        await server.application.intake.set_secret("web", "KEY", "hunter2")
        page = read(await http.get("/tasks/new/preview", params={**asked, "agent": "command"})).text
        assert "no value" not in page and "not installed" not in page


async def test_without_scripts_a_look_shows_branches_and_what_applies(
    server_without_worker: Server, installation: Installation
) -> None:
    server = server_without_worker
    installation.git("branch", "topic/<b>cart</b>")
    installation.git("update-server-info")
    async with visitor(server, Role.MEMBER) as http:
        fields = {"page_key": await _key(http), **ASKED, "repository": server.repository, "image_names": "a b.png"}
        page = await http.post("/tasks/new/look", data=fields, files=[("files", ("", b""))])
        assert '<option value="topic/&lt;b&gt;cart&lt;/b&gt;">' in page.text
        assert "<em>it</em>" in page.text, "and how the prompt reads"
        assert "--image 'a b.png' --detach 'Fix *it*'" in read(page).text
        assert "nothing to install" in read(page).text
        branches = await http.get("/tasks/new/branches", params={"repository": server.repository})
        assert branches.text.count("<option") == 2
        assert "<option" not in (await http.get("/tasks/new/branches", params={"repository": "/etc"})).text
        markdown = await http.post(
            "/tasks/new/markdown", data={"page_key": fields["page_key"], "prompt": "**b** <script>x</script>"}
        )
        assert "<strong>b</strong>" in markdown.text and "<script" not in markdown.text
        entries = await server.application.access.audit.list(AuditFilter(), limit=50)
        assert {entry.path for entry in entries} == {"/login"}, "looking is no change"
        async with server.as_holder(Role.MEMBER) as client:
            assert [branch.name for branch in await client.forge_branches(server.repository)] == [
                "main",
                "topic/<b>cart</b>",
            ]
