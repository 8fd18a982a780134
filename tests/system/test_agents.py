"""The real agents, each from its registry, on a real project with the network off: a scripted model says what to do."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from anyio import to_thread
from platformdirs import user_cache_path

from cloister.model.task import Verdict
from cloister.protocols import AgentPacks
from cloister.sandboxes.oci.image import OciImageStore
from cloister.testing import ScriptedModel, open_model, read_script

from .conftest import made_installation
from .installation import Finished, Installation, Running
from .project import Project
from .registry import Registry, needs_registry, small_layer

FILES = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "test_calc.py": "import unittest\n\nfrom calc import add\n\n\nclass AddTest(unittest.TestCase):\n"
    "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n",
    ".gitignore": "__pycache__\n",
    "AGENTS.md": "Run the tests with unittest.\n",
}
TEST = "python3 -m unittest"
ENVIRONMENT = f"""
[setup]
automatic = false
[variables]
PATH = "/opt/of-the-project:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PYTHONDONTWRITEBYTECODE = "1"
[checks]
test = "{TEST}"
"""
"""Compiled, a file would stand for one of the same size that was written in the same second."""
ALONE = "[setup]\nautomatic = false\n"
TURNS = f"""
[[turns]]
expect = {{ prompt = ["fix the failing test", "The network is off", "{TEST}"] }}
say = "I look first."
run = "{TEST} 2>&1 | tail -1; echo $PATH"
[[turns]]
expect = {{ result = ["FAILED", "/opt/of-the-project"] }}
edit = {{ path = "calc.py", old = "    return a - b", new = "    return a + b" }}
[[turns]]
run = "{TEST} 2>&1 | tail -1; git status --short"
[[turns]]
expect = {{ result = ["OK", "M calc.py"] }}
say = "Add subtracted. It adds now."
"""
AIDER = """
[[turns]]
expect = { anywhere = ["fix the failing test", "The network is off", "Run the tests with unittest"] }
say = "calc.py has to change."
[[turns]]
expect = { anywhere = "return a - b" }
say = "calc.py\\n```\\ndef add(a, b):\\n    return a * b\\n```"
[[turns]]
expect = { anywhere = "AssertionError: 2 != 3" }
say = "Add subtracted.\\n\\ncalc.py\\n```\\ndef add(a, b):\\n    return a + b\\n```"
"""
"""It asks for a file before it changes it, and runs the tests by itself."""
RESUMED = """
[[turns]]
expect = { prompt = "fix the failing test", nowhere = "say what you did" }
say = "Nothing is wrong here."
[[turns]]
run = "true"
[turns.expect]
prompt = "say what you did"
anywhere = ["fix the failing test", "Nothing is wrong here."]
nowhere = "goes on from earlier turns"
[[turns]]
expect = { status = 0 }
say = "I looked twice."
"""
"""Two turns of a task are one conversation of its agent, which is not told in words what it has said itself."""
DOOR, ESTABLISHED = 3130, "01"
AGENTS = ("codex", "claude", "gemini", "opencode", "mini-swe-agent", "aider")


@pytest.fixture(scope="module")
def installation(images: OciImageStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One whose packs are kept from one run of the tests to the next."""
    place = tmp_path_factory.mktemp("agents")
    with made_installation(place, Project.create(place / "project", FILES)) as made:
        packs = user_cache_path("cloister-tests") / "packs"
        packs.mkdir(parents=True, exist_ok=True)
        (made.state / "packs").symlink_to(packs)
        yield made


async def _run(installation: Installation, agent: str, turns: str) -> tuple[Finished, list[str]]:
    async with _opened(installation, agent, turns) as (running, model):
        finished = await running.run(None, environment=ENVIRONMENT, agent=agent, prompt="fix the failing test")
    return finished, model.problems


@asynccontextmanager
async def _opened(
    installation: Installation, agent: str | None, turns: str
) -> AsyncIterator[tuple[Running, ScriptedModel]]:
    async with open_model(read_script(turns.encode(), source="turns.toml")) as model:
        models = {
            "openai-like": {
                "base": f"{model.address}/v1",
                "api": ["responses", "chat"],
                "model": "m-1",
                "keyless": True,
            },
            "others": {"base": model.address, "api": ["messages", "gemini"], "model": "m-1", "keyless": True},
        }
        async with installation.opened(settings={"models": models}) as running:
            if agent is not None:
                await _ensure_installed(running, agent)
            yield running, model


async def _ensure_installed(running: Running, agent: str) -> None:
    recipe = running.application.agents[agent].pack
    assert recipe is not None
    packs: AgentPacks = running.application.packs
    found = await packs.find(agent)
    if found is None or found.version != recipe.version:
        await packs.install(recipe, lambda _: None)


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_agent_mends_a_project_offline(installation: Installation, agent: str) -> None:
    finished, problems = await _run(installation, agent, AIDER if agent == "aider" else TURNS)
    assert problems == []
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome
    assert [line for line in finished.diff.splitlines() if line[:1] in "+-"] == [
        "--- a/calc.py",
        "+++ b/calc.py",
        "-    return a - b",
        "+    return a + b",
    ]
    assert [check.ok for check in finished.outcome.checks] == [True]
    assert "Add subtracted." in finished.outcome.message
    assert "```" not in finished.outcome.message
    assert "egress_refused" not in finished.names(), "it asks for nothing but its model"
    [prompted] = [event for event in finished.events if event["event"] == "agent_prompted"]
    assert "There are no credentials" in prompted["text"]
    if agent != "aider":
        commands = [e for e in finished.events if e["event"] == "agent_event" and e["kind"] == "command_finished"]
        assert "OK" in commands[-1]["text"]


@pytest.mark.parametrize("agent", ["codex", "claude"])
async def test_a_follow_up_resumes_the_agents_own_conversation(installation: Installation, agent: str) -> None:
    async with _opened(installation, agent, RESUMED) as (running, model):
        first = await running.run(None, environment=ALONE, agent=agent, prompt="fix the failing test")
        await running.application.intake.follow_up(first.status.task.id, "say what you did")
        await running.application.work(until_idle=True)
        second = await running.finished(first.status.task.id)
    assert model.problems == []
    [former, last] = second.status.turns
    assert [turn.attempts[0].outcome.message for turn in (former, last)] == [
        "Nothing is wrong here.",
        "I looked twice.",
    ]
    assert former.attempts[0].outcome.session == last.attempts[0].outcome.session


WAITS = """
[[turns]]
delay_seconds = 3.0
say = "late"
"""
ASKS = """
curl -sS "$OPENAI_BASE_URL/responses" -d '{"model": "m-1", "input": [{"role": "user", "content": "x"}]}'
exec sleep 1000
"""


async def test_who_waits_for_the_model_is_not_stuck_and_who_waits_for_nothing_is(installation: Installation) -> None:
    environment = f'{ALONE}[limits]\nstuck = "1s"\n'
    async with _opened(installation, None, WAITS) as (running, model):
        finished = await running.run(ASKS, environment=environment, model="openai-like")
    assert model.problems == []
    assert "late" in finished.printed("agent"), "it took three times as long as it may be stuck"
    assert "neither printed nor computed" in finished.outcome.reason


async def test_an_agent_whose_worker_is_killed_while_it_asks_its_model_goes_on(installation: Installation) -> None:
    """The call is cut, and the agent's next trial waits for the next worker, however long that takes to come."""
    async with open_model(read_script(CUT_OFF.encode(), source="turns.toml")) as model:
        settings = installation.state / "model.toml"
        settings.write_text(
            f'[models.like]\nbase = "{model.address}/v1"\napi = ["responses"]\nmodel = "m-1"\nkeyless = true\n'
        )
        await to_thread.run_sync(_kill_in_a_call, installation, settings, model)
    assert model.problems == []


CUT_OFF = """
[[turns]]
delay_seconds = 600.0
error = { status = 500, message = "nobody waits for this" }
[[turns]]
say = "There you are."
"""


def _kill_in_a_call(installation: Installation, settings: Path, model: ScriptedModel) -> None:
    environment = installation.write(ALONE)
    asked = ("run", "--json", "--env", environment, "--agent", "codex", "--no-cache", "say something")
    with installation.started("--config", settings, *asked) as command:
        command.until("agent_prompted")
        _until(lambda: len(model.problems) == 1, "the first turn was asked for")
        command.kill()
    [agent] = [event["attempt"] for event in command.events if event["event"] == "agent_prompted"]
    inside = (installation.paths.sandbox(agent) / "processes/agent/init-pid").read_text()
    _until(lambda: _asks_again(Path(f"/proc/{inside}/net/tcp")), "the agent has tried again")
    ended = installation.cloister("--config", settings, "task", "wait", "--json", command.task)
    [attempt] = ended.events[0]["attempts"]
    assert (attempt["verdict"], attempt["message"]) == ("succeeded", "There you are."), attempt


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def _asks_again(table: Path) -> bool:
    """Whether somebody is connected to a door, and nobody has taken the connection yet: it has no inode (net/tcp)."""
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return any(row[1].endswith(f":{DOOR:04X}") and (row[3], row[9]) == (ESTABLISHED, "0") for row in rows)


BARE = """
[[turns]]
run = "command -v python3 node git || echo none of them"
[[turns]]
expect = { result = "none of them" }
run = "echo '# looked at' >>calc.py"
[[turns]]
say = "I looked at it."
"""


@needs_registry
@pytest.mark.parametrize("agent", ["codex", "mini-swe-agent"])
async def test_an_agent_works_on_an_image_without_node_and_python(
    installation: Installation, images: OciImageStore, tmp_path: Path, agent: str
) -> None:
    base = await images.find("base")
    assert base is not None
    with Registry(tmp_path / "registry").running() as registry:
        registry.push("bare:1", [small_layer(images.rootfs(base))])
        async with _opened(installation, agent, BARE) as (running, model):
            image = await running.application.images.pull(f"{registry.host}/bare:1")
            environment = f'image = "{registry.host}/bare:1"\n{ALONE}'
            finished = await running.run(None, environment=environment, agent=agent, prompt="look at it")
            await running.application.images.remove(image.digest, in_use=lambda _: False)
    assert model.problems == []
    assert "+# looked at" in finished.diff
    assert finished.outcome.message == "I looked at it."
