"""The agent `check`, its script run by a real bash on the programs of this machine, and on stand-ins."""

import os
import subprocess
from pathlib import Path

from cloister.agents.check import CheckAgent
from cloister.model.agent import AgentTurn
from cloister.model.container import MESSAGE_FILE


def _look(place: Path, new_task, programs: dict[str, str]) -> list[str]:
    """Return the message that it writes in a work tree at `place`, where these programs come first."""
    folder = place / ".bin"
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    shell, option, script = CheckAgent().command(AgentTurn(task=new_task(), prompt="look")).argv
    message = folder / "message"
    here = script.replace(MESSAGE_FILE, str(message))
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run([shell, option, here], cwd=place, env={"PATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return message.read_text().splitlines()


def test_programs_say_their_versions_or_that_they_cannot(tmp_path: Path, new_task) -> None:
    programs = {
        "java": "echo Picked up options 1 >&2; echo openjdk 17",
        "gradle": "echo; echo -----; echo Gradle 8.2; echo more 1",
        "go": 'echo "asked for $1 1"',
        "cargo": "exit 3",
        "ruby": "echo no digits",
    }
    told = _look(tmp_path, new_task, programs)
    assert told[0] == "versions"
    for line in (
        "  java openjdk 17",
        "  gradle Gradle 8.2",
        "  go asked for version 1",
        "  cargo does not say (status 3)",
        "  ruby does not say (status 0)",
    ):
        assert line in told
    assert any(line.startswith("  python3 Python 3.") for line in told)


def test_packages_are_counted_where_they_lie(tmp_path: Path, new_task) -> None:
    for path in ("a/package.json", "@s/b/package.json", "a/lib/package.json", "a/node_modules/c/package.json"):
        file = tmp_path / "flat/node_modules" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for name in ("c@1", "d@2", "node_modules"):
        (tmp_path / "pnpm/node_modules/.pnpm" / name).mkdir(parents=True)
    (tmp_path / "npm/node_modules").mkdir(parents=True)
    (tmp_path / "npm/node_modules/.package-lock.json").write_text('{"packages": {"node_modules/x": {}}}')
    told = _look(tmp_path, new_task, {"node": "cat >/dev/null; echo 1"})
    assert [line for line in told if line.startswith("  node ")][-3:] == [
        "  node 2 in flat/node_modules",
        "  node 1 in npm/node_modules",
        "  node 2 in pnpm/node_modules",
    ]
    assert any(line.startswith("  python ") and " in " in line for line in told)
