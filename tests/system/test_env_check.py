"""`cloister env check`: a repository is made ready as for a task, without an agent, and all that happened is told."""

import json
from typing import Any

from .installation import QUIET, Installation

SECRET = "s3cret-value-of-a-check"


def check(installation: Installation, environment: str, *more: str) -> tuple[int, str]:
    """Return the exit code and what was printed."""
    ran = installation.cloister("env", "check", installation.write(environment), *more)
    return ran.code, ran.stdout + ran.stderr


def report(installation: Installation, environment: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code and the last object of `--json`."""
    code, told = check(installation, environment, "--json")
    last: dict[str, Any] = json.loads(told.splitlines()[-1])
    assert json.loads(told.splitlines()[-2])["event"] == "task_finished", "after the events"
    assert last["event"] == "environment_checked"
    return code, last


def test_a_setup_that_fails_fails_the_check_with_its_last_words(installation: Installation) -> None:
    code, told = check(installation, '[setup]\nscript = "echo so it ends; exit 7"\n')
    assert code == 1, told
    assert "ended with status 7; it last said: so it ends" in told
    assert "python3" not in told, "no version is asked where setup failed"
    [task] = json.loads(installation.cloister("task", "list", "--json").stdout)
    assert (task["agent"], task["command"]) == ("check", None), "to be told from other tasks"
    shown = installation.cloister("task", "show", task["task"]).stdout
    for text in (told, shown):
        assert "try it by hand: cloister env shell --phase setup " in text
        assert f" --repo {installation.project.path}" in text


def test_the_check_tells_phases_versions_and_the_snapshot(installation: Installation) -> None:
    """An agent that the environment names is not started; versions are those after setup."""
    installation.project.commit({"go": "#!/bin/sh\necho version-of-go 1 $1\n"})
    assert installation.cloister("secret", "set", "shop", "TOKEN", stdin=SECRET).code == 0
    environment = (
        "name = 'shop'\nagent = 'codex'\n[secrets]\nTOKEN = { mode = 'setup' }\n"
        "[setup]\nscript = 'install -m 755 go /usr/local/bin/go'\n"
    )
    code, cold = report(installation, environment)
    assert (code, cold["verdict"], cold["steps"]) == (0, "succeeded", [])
    assert cold["snapshot"] | {"key": ""} == {
        "key": "",
        "hit": False,
        "reason": "first use of this environment",
        "saved": True,
    }
    phases = {phase.pop("phase"): phase for phase in cold["phases"]}
    assert list(phases) == ["provision", "setup", "agent", "output", "teardown"]
    assert all(phase.pop("seconds") >= 0 for phase in phases.values())
    assert phases["setup"] == {"network": "full", "secrets": ["TOKEN"], "brokered": []}
    assert phases["agent"] == {"network": "off", "secrets": [], "brokered": []}
    assert cold["versions"]["python3"].startswith("Python 3.") and cold["versions"]["go"] == "version-of-go 1 version"
    code, warm = check(installation, environment)
    assert (code, SECRET in warm) == (0, False), warm
    assert "setup\t0.0\toff\tnone\n" in warm and "go\tversion-of-go 1 version\n" in warm, warm
    assert f"snapshot {cold['snapshot']['key'][:12]}: hit" in warm


def test_each_step_of_automatic_setup_is_told(installation: Installation) -> None:
    """The second one fails, because its lock file does not match: both are there with their seconds."""
    lock = '{"lockfileVersion": 3, "packages": {"": {}}}'
    files = {"package.json": "{}", "package-lock.json": lock, "web/package-lock.json": lock}
    installation.project.commit(files | {"web/package.json": '{"dependencies": {"left-pad": "1.3.0"}}'})
    code, told = report(installation, "")
    assert code == 1, told
    steps = [(step["tool"], step["folder"], step["reason"], step["ok"]) for step in told["steps"]]
    assert steps == [("npm", "", "package-lock.json", True), ("npm", "web", "web/package-lock.json", False)]
    assert all(step["seconds"] > 0 for step in told["steps"])
    assert told["reason"].startswith("the setup script ended with status 1 in npm in web/ (web/package-lock.json); ")
    assert "in sync" in told["reason"], "in the tool's own words"


def test_a_file_that_is_wrong_is_refused_before_anything_runs(installation: Installation) -> None:
    code, told = check(installation, QUIET + "[sets]\n")
    assert (code, "sets" in told) == (2, True), told
    assert installation.cloister("task", "list", "--json").stdout == "[]\n"
