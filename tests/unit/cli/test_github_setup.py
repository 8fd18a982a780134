"""The page on this machine, and who may lead the browser back to it."""

import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from cloister.cli.github_setup import Listener, page_of, read_answer
from cloister.errors import UsageError
from cloister.model.forge import AppManifest
from cloister.testing.github.server import GitHub, serve_github

from ..forges.github.browsing import create_app
from .conftest import Installation

CODE, STATE = "0123456789abcdef", "right"
MANIFEST = AppManifest(address="https://github.example/settings/apps/new", manifest='{"name":"\\"><b>"}', webhook=None)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener(STATE) as made:
        made.page = page_of(MANIFEST, STATE)
        thread = threading.Thread(target=made.wait)
        thread.start()
        yield made
        httpx.get(f"{made.address}/made?code={CODE}&state={STATE}")
        thread.join()
        assert made.code == CODE


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        (f"/made?code={CODE}", None, 400),
        (f"/made?code={CODE}&state=wrong", None, 400),
        (f"/made?code={CODE}&state={STATE}&state=wrong", None, 400),
        (f"/made?code={CODE}&code={CODE}&state={STATE}", None, 400),
        (f"/made?code=..%2Fuser&state={STATE}", None, 400),
        (f"/made?state={STATE}", None, 400),
        (f"/made?code={CODE}&state={STATE}", "evil.example", 421),
        ("/", "evil.example", 421),
        ("/", None, 404),  # another user of this machine does not know where the page is
        ("/other", None, 404),
    ],
)
def test_nobody_else_leads_the_browser_back(listener: Listener, path: str, host: str | None, status: int) -> None:
    answer = httpx.get(listener.address + path, headers={"Host": host} if host else {})
    assert (answer.status_code, listener.code) == (status, None)
    assert STATE not in answer.text


def test_the_page_posts_to_github_and_nowhere_else(listener: Listener) -> None:
    answer = httpx.get(f"{listener.address}{listener.path}")
    assert 'action="https://github.example/settings/apps/new?state=right"' in answer.text
    assert "<b>" not in answer.text
    assert "form-action https://github.example;" in answer.headers["content-security-policy"]


def test_an_address_that_is_pasted_has_the_state_too() -> None:
    assert read_answer(f" http://127.0.0.1:9/made?code={CODE}&state={STATE}\n", STATE) == CODE
    for address in (CODE, f"http://127.0.0.1:9/made?code={CODE}&state=other", f"http://127.0.0.1:9/?code={CODE}"):
        with pytest.raises(UsageError):
            read_answer(address, STATE)


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    with serve_github(tmp_path / "forge") as made:
        monkeypatch.setenv("CLOISTER_GITHUB_URL", made.url)
        yield made
        made.check()


def test_an_app_is_made_without_a_browser_on_this_machine(
    installation: Installation, github: GitHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pasted: list[str] = []

    def browse(_: str, **__: object) -> str:
        """What a person does: posts the form, and copies where that leads."""
        state = monkeypatch_state[0]
        manifest = '{"name": "cloister", "url": "https://a.example", "redirect_url": "http://127.0.0.1:9/made"}'
        pasted.append(create_app(f"{github.url}/settings/apps/new?state={state}", manifest))
        return pasted[-1]

    monkeypatch_state = ["s" * 32]
    monkeypatch.setattr("cloister.cli.github_setup.secrets.token_urlsafe", lambda _: monkeypatch_state[0])
    monkeypatch.setattr("cloister.cli.github_setup.typer.prompt", browse)
    config = tmp_path / "cloister.toml"
    config.write_text("# mine\n")
    setup = ("--config", str(config), "github", "setup", "--paste")
    done = installation.run(*setup)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("data:text/html")]
    assert f'action="{github.url}/settings/apps/new?state={"s" * 32}"' in unquote(line)
    assert config.read_text() == "# mine\n\n[github]\napp = 100\n"
    assert f"app = 100 in the table [github] of {config}" in done.stdout
    assert "installations/new" in done.stdout
    assert urlsplit(pasted[0]).query.partition("&")[0].removeprefix("code=") not in done.output
    done = installation.run("--config", str(config), "github", "doctor")
    assert "the app is installed nowhere" in done.output
    assert "has no permission contents: write" in done.output, "the manifest of this browser had none"
    monkeypatch_state[0] = "t" * 32
    monkeypatch.setattr("cloister.cli.github_setup.typer.prompt", lambda *_, **__: pasted[0])
    assert installation.run(*setup).exit_code == 2, "an answer to another question"
