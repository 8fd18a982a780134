"""The forms: a task with all that can come with it, and an environment from its import to its end."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from cloister.agents.check import CheckAgent
from cloister.model.request import EnvironmentText
from cloister.model.token import Role
from cloister.sandboxes.fake import Hold, Print, Program

from ..unit.cli import conftest
from ..unit.cli.conftest import Installation
from ..unit.served.conftest import Machine, Server
from ..unit.served.test_new_task_page import PICTURE
from .conftest import DESKTOP, PHONE, NewPage, log_in
from .test_flows import _looks_right as looks_right

pytestmark = pytest.mark.anyio

SIZES = pytest.mark.parametrize(("size", "colors"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
GIVE = """([kind, name, type, bytes]) => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], name, { type }));
  const options = { bubbles: true, cancelable: true };
  document.getElementById("prompt").dispatchEvent(kind === "paste"
    ? new ClipboardEvent("paste", { ...options, clipboardData: data })
    : new DragEvent("drop", { ...options, dataTransfer: data }));
}"""
TEXT = '# of the shop\nimage = "base"\n\n[network]\nagent = "off" # nobody\n\n[setup]\nscript = "make"\n'


@pytest.fixture(autouse=True)
def with_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "AGENTS", (*conftest.AGENTS, CheckAgent()))


def _axe(packages: Path) -> str:
    return (packages / "node_modules/axe-core/axe.min.js").read_text()


async def _give(page: Page, how: str, name: str, kind: str, data: bytes) -> None:
    await page.evaluate(GIVE, [how, name, kind, [*data]])


async def _open_all(page: Page) -> None:
    await page.evaluate("for (const each of document.querySelectorAll('main details')) each.open = true")


@SIZES
async def test_a_task_with_all_that_can_come_with_it(
    server_without_worker: Server,
    installation: Installation,
    new_page: NewPage,
    packages: Path,
    size: dict[str, int],
    colors: str,
) -> None:
    server = server_without_worker
    installation.git("branch", "topic/cart")
    installation.git("update-server-info")
    async with new_page(server, viewport=size, color_scheme=colors) as page:
        await log_in(page, server)
        await page.goto("/tasks/new")
        await page.get_by_label("What should be done?").fill("Fix **it** as in the picture")
        await page.get_by_text("How it reads").click()
        await expect(page.locator("#markdown strong", has_text="it")).to_be_visible()
        await _give(page, "paste", "it's a shot.png", "image/png", PICTURE)
        await _give(page, "drop", "notes.txt", "text/plain", b"notes")
        await _give(page, "drop", "wrong.txt", "text/plain", b"wrong")
        await page.get_by_role("button", name="Leave out wrong.txt").click()
        await expect(page.get_by_label("Chosen files").get_by_role("listitem")).to_have_count(2)
        await page.get_by_label("Repository").fill(server.repository)
        await page.get_by_label("Agent", exact=True).select_option("command")
        await page.get_by_role("textbox", name="Command line").fill("make fix")
        await page.get_by_label("Priority").select_option("low")
        await _open_all(page)
        await page.get_by_label("A diff, pasted").fill(conftest.DIFF.decode())
        await page.get_by_label("The agent's network").select_option("limited")
        await page.get_by_label("Domains that the agent may reach too").fill("example.com")
        await expect(page.locator('#branches option[value="topic/cart"]')).to_have_count(1)
        line = page.locator("[data-command-line] code")
        await expect(line).to_contain_text(
            "--priority low --patch change.diff --image 'it'\"'\"'s a shot.png' --file notes.txt"
        )
        await expect(line).to_contain_text(
            "--internet limited --allow example.com --detach 'Fix **it** as in the picture'"
        )
        await expect(page.locator("#preview li", has_text="agent")).to_contain_text("limited to 1 domain")
        await looks_right(page, _axe(packages))
        await page.get_by_role("button", name="Start the task").click()
        await expect(page.get_by_role("heading", name="Fix **it** as in the picture")).to_be_visible()
        status = await server.application.intake.task(page.url.rpartition("/")[2])
        assert [(file.name, file.image) for file in status.task.files] == [
            ("it_s_a_shot.png", True),
            ("notes.txt", False),
        ]
        assert (status.task.patch, status.task.priority) == (conftest.DIFF, "low")


@SIZES
async def test_an_environment_from_its_import_to_its_end(
    machine: Machine, new_page: NewPage, packages: Path, size: dict[str, int], colors: str
) -> None:
    installation, axe = machine.installation, _axe(packages)
    (installation.project / ".openhands").mkdir()
    (installation.project / ".openhands/setup.sh").write_text("make hands\n")
    installation.git("add", ".")
    installation.git("commit", "--quiet", "--message=two")
    installation.git("update-server-info")
    installation.node.programs["setup"] = Program(steps=[Print(data=b"installing\n"), Hold()])
    async with machine.server() as server, new_page(server, viewport=size, color_scheme=colors) as page:
        await log_in(page, server, Role.ADMIN)
        await page.goto("/environments")
        await page.get_by_role("link", name="Import").click()
        await page.get_by_label("Repository").fill(server.repository)
        await page.get_by_label("Name of the environment").fill("shop")
        await page.get_by_role("button", name="Look").click()
        await expect(page.get_by_role("heading", name=".openhands/setup.sh")).to_be_visible()
        await looks_right(page, axe)
        await page.get_by_role("button", name="Put this into the editor").click()
        await _edit(page, axe)
        await page.get_by_role("button", name="Save").click()
        await page.wait_for_url("**/environments/shop")
        await _keep_a_secret(page)
        await page.get_by_role("link", name="Check").click()
        await page.get_by_label("Repository").fill(server.repository)
        await page.get_by_label("Snapshot").select_option("true")
        await looks_right(page, axe)
        await page.get_by_role("button", name="Check").click()
        await expect(page.locator("#phases li[aria-current]")).to_contain_text("setup")
        await expect(page.locator("#entries pre", has_text="installing")).to_be_visible()
        await expect(page.locator("#check-report tr", has_text="setup")).to_contain_text("limited")
        await looks_right(page, axe)
        installation.node.release_all()
        await expect(page.get_by_role("link", name="Check again")).to_be_visible()
        await expect(page.get_by_text("kept for the next task")).to_be_visible()
        await looks_right(page, axe)
        await page.get_by_role("link", name="shop").click()
        await _open_all(page)
        await expect(page.get_by_text("Last used")).to_be_visible()
        await looks_right(page, axe)
        await page.get_by_role("link", name="Why a task finds one").click()
        await page.get_by_role("button", name="Look").click()
        await expect(page.get_by_role("heading", name="It hits")).to_be_visible()
        await looks_right(page, axe)
        await page.get_by_role("link", name="shop").click()
        await page.get_by_role("link", name="Delete the environment").click()
        await expect(page.get_by_text("1 snapshot")).to_be_visible()
        await looks_right(page, axe)
        await page.get_by_label("Forget its secrets").check()
        await page.get_by_role("button", name="Delete the environment").click()
        await expect(page.get_by_text("None is stored")).to_be_visible()


async def _edit(page: Page, axe: str) -> None:
    """Change the text by the form, and the form by the text."""
    text, check = page.locator("#text"), page.locator("#check")
    await page.locator("#f-network-setup").select_option("limited")
    await expect(text).to_have_value(_with('setup = "limited"'))
    await page.locator("#f-checks-0").fill("lint")
    await page.keyboard.press("Tab")
    await page.keyboard.type("make lint")
    await expect(text).to_have_value(_with('lint = "make lint"'))
    await expect(page.locator("#f-checks-0-command")).to_be_focused()
    await expect(page.locator("#f-checks-1")).to_be_attached()
    await page.locator("#group-limits summary").click()
    await page.get_by_label("Pids").fill("four")
    await expect(check.get_by_role("alert")).to_contain_text("`limits.pids`: must be an integer")
    await page.get_by_label("Pids").fill("400")
    await expect(check.get_by_role("alert")).to_have_count(0)
    now = await text.input_value()
    await text.fill(f"# mine\n{now}")
    await text.press_sequentially("\n[cache]\nttl = 'soon'\n")
    await expect(check.get_by_role("alert")).to_contain_text("cache.ttl")
    await expect(page.locator("#f-cache-ttl")).to_have_value("soon")
    await text.fill(f"# mine\n{now}\n[cache]\nttl = '2h'\n")
    await expect(page.locator("#f-cache-ttl")).to_have_value("2h")
    await expect(check.locator("li", has_text="setup")).to_contain_text("limited")
    await _open_all(page)
    await looks_right(page, axe)
    assert (await text.input_value()).startswith("# mine\n# Imported")


def _with(part: str) -> re.Pattern[str]:
    return re.compile(re.escape(part))


async def _keep_a_secret(page: Page) -> None:
    await page.get_by_text("Set a secret, or give one another value").click()
    form = page.locator("#set-secret")
    await form.get_by_label("Name").fill("KEY")
    await form.get_by_label("Mode").select_option("brokered")
    await form.get_by_label("Value").fill("hunter2")
    await form.get_by_label("Brokered: hosts").fill("api.example.com")
    await form.get_by_role("button", name="Save the secret").click()
    await expect(page.get_by_role("cell", name="only the proxy has it")).to_be_visible()
    assert "hunter2" not in await page.content()


async def test_an_environment_by_keyboard_alone(server_without_worker: Server, new_page: NewPage) -> None:
    async with new_page(server_without_worker) as page:
        await log_in(page, server_without_worker, Role.ADMIN)
        keys = page.keyboard
        await page.goto("/environments/-/new")
        await expect(page.locator("#name")).to_be_focused()
        await keys.type("shop")
        for _ in range(3):  # the group, the repository, the image
            await keys.press("Tab")
        await keys.type("other")
        await keys.press("Tab")
        await expect(page.locator("#text")).to_have_value(_with('image = "other"'))
        await keys.press("Control+Enter")
        await page.wait_for_url("**/environments/shop")
    stored = await server_without_worker.application.intake.environments.get("shop")
    assert 'image = "other"' in stored.text


async def test_two_who_edit_one_environment_without_scripts(server_without_worker: Server, new_page: NewPage) -> None:
    server = server_without_worker
    await server.application.intake.environments.create("shop", EnvironmentText(source="x", raw=TEXT.encode()))
    async with new_page(server, java_script_enabled=False) as page:
        await log_in(page, server, Role.ADMIN)
        await page.goto("/environments/shop/edit")
        await page.locator("#f-network-agent").select_option("limited")
        await page.get_by_role("button", name="Put the form into the text").click()
        await expect(page.locator("#text")).to_have_value(TEXT.replace('"off"', '"limited"'))
        await server.application.intake.environments.edit(
            "shop", EnvironmentText(source="x", raw=b"image = 'theirs'\n")
        )
        await page.locator("#f-checks-0").fill("lint")
        await page.locator("#f-checks-0-command").fill("make lint")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert").first).to_contain_text("was changed meanwhile")
        await expect(page.get_by_text("+image = 'theirs'")).to_be_visible()
        await expect(page.locator("#text")).to_have_value(_with('lint = "make lint"'))
        await page.get_by_role("button", name="Store mine after version 2").click()
        await page.wait_for_url("**/environments/shop")
        await expect(page.get_by_text("version 3")).to_be_visible()
        await page.goto(f"/tasks/new?repository={server.repository}&agent=command&command=make")
        await page.get_by_label("What should be done?").fill("Fix **it**")
        await page.get_by_role("button", name="Look first").click()
        await expect(page.locator("#markdown strong")).to_have_text("it")
        await expect(page.locator("#preview li", has_text="agent")).to_contain_text("off")
        await page.get_by_label("Pictures and files").set_input_files(
            {"name": "a.png", "mimeType": "image/png", "buffer": PICTURE}
        )
        await page.get_by_role("button", name="Start the task").click()
        await expect(page.get_by_role("heading", name="Fix **it**")).to_be_visible()
        status = await server.application.intake.task(page.url.rpartition("/")[2])
        assert [file.image for file in status.task.files] == [True]
