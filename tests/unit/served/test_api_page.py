"""Every example of the page about the API runs, in the order of the page, and its errors look as they are shown."""

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio.to_thread
import pytest

from cloister.model.token import Role

from .conftest import Server

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[3] / "docs/how-to/api.md").read_text()
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(kind, text) for kind, text in _BLOCK.findall(PAGE)]
SHOWN = [text for kind, text in BLOCKS if not kind and text.startswith(("{", "NotFoundError"))]


def examples(kind: str, server: Server) -> list[str]:
    socket = server.application.settings.socket
    places = {"https://git.example/team/proj.git": server.repository, "/var/lib/cloister/cloister.sock": str(socket)}
    found = [text for it, text in BLOCKS if it == kind]
    for example, place in places.items():
        found = [text.replace(example, place) for text in found]
    return found


async def run(command: list[str], text: str, server: Server, directory: Path) -> str:
    variables = {**os.environ, "CLOISTER_SERVER": server.address, "CLOISTER_TOKEN": await server.token(Role.MEMBER)}

    def work() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command, input=text, cwd=directory, env=variables, capture_output=True, text=True, check=False, timeout=120
        )

    done = await anyio.to_thread.run_sync(work)
    assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    return done.stdout


async def test_every_example_for_a_shell_runs(server: Server, tmp_path: Path) -> None:
    script = "".join(examples("sh", server))
    said = await run(["bash", "-euo", "pipefail"], script, server, tmp_path)
    assert '"verdict": "succeeded"' in said
    assert "\nevent: end\n" in said
    assert SHOWN[0] in said


async def test_every_example_in_python_runs(server: Server, tmp_path: Path) -> None:
    said = [await run([sys.executable, "-"], text, server, tmp_path) for text in examples("python", server)]
    assert "1 task_accepted\n" in said[0] and "+two" in said[0]
    assert "fix the printer succeeded\n" in said[1] and "2 succeeded\n" in said[1]
    assert said[2] == SHOWN[1]


async def test_on_the_servers_machine_a_script_needs_no_token(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOISTER_STATE", str(server.application.settings.state))
    text = "import cloister, anyio\nasync def main():\n    async with cloister.Client.connect() as client:\n        print(await client.tokens())\nanyio.run(main)"  # noqa: E501
    without = f"import os\ndel os.environ['CLOISTER_SERVER']\n{text}"
    assert "Token(" in await run([sys.executable, "-"], without, server, tmp_path), "only an admin may see them"
