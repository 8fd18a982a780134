"""The real `codex cloud` program against a real server."""

import fcntl
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from platformdirs import user_cache_path

from cloister.sandboxes.oci.image import OciImageStore
from cloister.testing import open_model, read_script

from .conftest import made_installation
from .installation import Installation
from .project import Project
from .terminal import at_terminal
from .test_server import free_port, serving

VERSION = "0.150.1"
TURNS = """
[[turns]]
edit = { path = "a.txt", old = "one", new = "two" }
[[turns]]
say = "It says two now."
"""
STORED = """
repository = "{project}"
agent = "codex"
[setup]
automatic = false
"""
PLAIN = """
repository = "{project}"
[setup]
automatic = false
"""


@pytest.fixture(scope="module")
def program() -> Path:
    """The program from npm, kept from one run of the tests to the next."""
    place = user_cache_path("cloister-tests") / f"codex-cloud-{VERSION}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = place / "node_modules" / ".bin" / "codex"
        if not found.exists():
            subprocess.run(
                ["npm", "install", "--silent", "--prefix", str(place), f"@openai/codex@{VERSION}"], check=True
            )
    return found


@dataclass(frozen=True)
class User:
    """Somebody with the program, a login of their own, and a clone."""

    program: Path
    installation: Installation
    variables: dict[str, str]

    def cloud(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done
        return done.stdout

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [str(self.program), "cloud", *arguments],
            cwd=self.installation.project.path,
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@contextmanager
def served_user(tmp_path: Path, program: Path, model: str) -> Iterator[User]:
    """A server with a model, the environment `proj`, and a user with a token for it."""
    project = Project.create(tmp_path / "project", {"a.txt": "one\n"})
    with made_installation(tmp_path, project) as made:
        packs = user_cache_path("cloister-tests") / "packs"
        packs.mkdir(parents=True, exist_ok=True)
        (made.state / "packs").symlink_to(packs)
        settings = f'[models.scripted]\nbase = "{model}/v1"\napi = ["responses"]\nmodel = "m-1"\nkeyless = true\n'
        port, home, config = free_port(), tmp_path / "codex-home", tmp_path / "cloister.toml"
        config.write_text(f'listen = "127.0.0.1:{port}"\n{settings}')
        _ensure_agent(made)
        with serving(made, config=config):
            for name, text in (("proj", STORED), ("plain", PLAIN)):
                created = made.cloister("env", "create", name, "--file", made.write(text.format(project=project.path)))
                assert created.code == 0, created
            address = f"http://127.0.0.1:{port}"
            printed = made.cloister("--config", config, "token", "create", "laptop", "--codex-home", home)
            assert printed.code == 0, printed
            yield User(program, made, {"CODEX_HOME": str(home), "CODEX_CLOUD_TASKS_BASE_URL": address})


def _ensure_agent(installation: Installation) -> None:
    [listed] = installation.cloister("agent", "list", "--json").events
    [codex] = [agent for agent in listed if agent["agent"] == "codex"]  # type: ignore[index]
    if codex["installed"] != codex["known"]:
        assert installation.cloister("agent", "install", "codex").code == 0


async def test_the_program_gives_tasks_lists_them_and_applies_their_changes(
    images: OciImageStore, tmp_path: Path, program: Path
) -> None:
    async with open_model(read_script(TURNS.encode(), source="turns.toml")) as model:

        def use() -> None:
            with served_user(tmp_path, program, model.address) as user:
                use_program(user)

        with anyio.fail_after(200):
            await anyio.to_thread.run_sync(use)
    assert [problem for problem in model.problems if "no more conversations" not in problem] == [], "of the first task"


def use_program(user: User) -> None:
    installation = user.installation
    url = user.cloud("exec", "--env", "proj", "say two").strip()
    task = url.rpartition("/")[2]
    waited = installation.cloister("task", "wait", task)
    assert waited.code == 0, waited
    assert "[READY] say two" in user.cloud("status", task)
    assert "+two" in user.cloud("diff", task)
    assert user.run("exec", "--env", "none", "say two").returncode != 0
    many = [_given(installation, f"echo {n} >$CLOISTER_ATTEMPT.txt; echo {n} >b.txt") for n in range(2)]
    _list(user, [*reversed(many), task])
    assert "+1" in user.cloud("diff", many[1], "--attempt", "2")
    assert "+1" in user.cloud("diff", many[1])
    assert user.run("diff", many[1], "--attempt", "9").returncode != 0
    assert "Applied task" in user.cloud("apply", task)
    assert (installation.project.path / "a.txt").read_text() == "two\n"
    _apply_second(user, many[1])
    tried = user.cloud("exec", "--env", "proj", "--attempts", "2", "again").strip().rpartition("/")[2]
    shown = json.loads(installation.cloister("task", "show", "--json", tried).stdout)
    assert len(shown["attempts"]) == 2
    assert installation.cloister("task", "cancel", tried).code == 0
    installation.cloister("task", "wait", tried)
    _look(user)


def _apply_second(user: User, task: str) -> None:
    """Each attempt has a file of its own."""
    tree = user.installation.project.path
    [added] = [
        line.removeprefix("+++ b/")
        for line in user.cloud("diff", task, "--attempt", "2").splitlines()
        if line != "+++ b/b.txt" and line.startswith("+++ b/")
    ]
    assert not (tree / added).exists()
    assert "Applied task" in user.cloud("apply", task, "--attempt", "2")
    assert (tree / added).exists()


def _given(installation: Installation, command: str) -> str:
    ran = installation.cloister("run", "--json", "--env", "plain", "--attempts", "2", "--command", command, "many")
    assert ran.code == 0, ran
    return str(ran.events[-1]["task"])


def _list(user: User, expected: list[str]) -> None:
    """By pages of two, as a script would."""
    found, cursor = [], []
    while True:
        page = json.loads(user.cloud("list", "--json", "--limit", "2", *cursor))
        found += [task["id"] for task in page["tasks"]]
        if page["cursor"] is None:
            break
        cursor = ["--cursor", page["cursor"]]
    assert found == expected
    shown = user.cloud("list")
    assert all(task in shown for task in expected)


def _look(user: User) -> None:
    """Its terminal interface, with the list of environments."""
    command = [str(user.program), "cloud"]
    with at_terminal(command, cwd=user.installation.project.path, variables={**os.environ, **user.variables}) as person:
        person.resizes(120, 40)
        person.reads(r"\x1b\[6n")  # it asks where the cursor is
        person.types("\x1b[1;1R")
        person.reads("many")
        person.types("o")
        person.reads("proj")
        person.types("\x1b")
        person.reads("many")  # the list again; an escape and a letter at once would be another key
        person.types("q")
        assert person.ends() == 0
