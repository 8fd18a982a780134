"""`cloister env show` and `why`: what setup would do, and whether it has to, told before anything runs."""

import json
import subprocess

from .installation import Installation

FILES = {"web/package.json": '{"dependencies": {"a": "1"}}', "environment.yml": "name: x\n"}


def test_the_plan_is_shown_and_can_be_kept_as_a_script(installation: Installation) -> None:
    installation.project.commit(FILES)
    shown = installation.cloister("env", "show")
    assert shown.code == 0, shown.stderr
    assert "detected npm in web/ (web/package.json): npm install --no-package-lock" in shown.stdout
    assert "conda is not supported" in shown.stdout
    script = installation.cloister("env", "show", "--script").stdout
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    told = json.loads(installation.cloister("env", "show", "--json").stdout)
    assert told["setup"] == script
    assert [step["folder"] for step in told["steps"]] == ["web"]
    assert installation.cloister("task", "list", "--json").stdout == "[]\n", "nothing was started"


def test_the_script_of_a_plan_does_what_automatic_setup_does(installation: Installation) -> None:
    """As an environment's own script it needs no detection: what it installs is found by the agent."""
    installation.project.commit({"web/package.json": '{"dependencies": {"is-odd": "3.0.1"}}'})
    script = installation.cloister("env", "show", "--script").stdout
    environment = f"[setup]\nscript = '''\n{script}'''\n"
    ran = installation.cloister(*installation.task("ls web/node_modules", environment=environment))
    assert ran.code == 0, ran.stdout
    assert "is-odd" in ran.stdout


def test_a_project_that_names_nothing_and_a_ref_that_is_not_there(installation: Installation) -> None:
    assert "nothing is installed" in installation.cloister("env", "show").stdout
    assert installation.cloister("env", "show", "--script").stdout.startswith("# nothing is installed")
    refused = installation.cloister("env", "show", "--ref", "absent")
    assert (refused.code, refused.stdout) == (2, "")
    assert "absent" in refused.stderr


def test_why_the_next_task_hits_or_misses(installation: Installation) -> None:
    """Asked around two tasks whose dependencies changed in between; the key that is told is the one that is used."""
    installation.project.commit({"web/package.json": '{"dependencies": {"is-number": "6.0.0"}}'})
    before = json.loads(installation.cloister("env", "why", "--json").stdout)
    assert (before["hit"], before["reason"]) == (False, "first use of this environment")
    ran = installation.cloister("run", "--json", "--command", "true", "do it")
    assert ran.code == 0, ran.stdout
    assert [event["key"] for event in ran.events if event["event"] == "snapshot_saved"] == [before["key"]]
    warm = installation.cloister("env", "why").stdout
    assert f"snapshot {before['key'][:12]}: hit" in warm
    assert "last miss: " in warm and "first use of this environment" in warm
    installation.project.commit({"web/package.json": '{"dependencies": {"is-number": "7.0.0"}}'})
    after = json.loads(installation.cloister("env", "why", "--json").stdout)
    assert (after["reason"], after["differing"]) == ("changed: lock files", ["lock files"])
    assert installation.cloister("env", "reset-cache", str(installation.project.path)).stdout.startswith("forgot 1 ")
    assert json.loads(installation.cloister("env", "why", "--json").stdout)["nearest"] is None


def test_a_file_in_place_of_the_repositorys_own(installation: Installation) -> None:
    """What it says decides what is shown and which key is looked for; one that is not there is named."""
    file = installation.state.parent / "environment.toml"
    file.write_text("[setup]\nscript = 'make ready'\n")
    assert "setup: the environment's own script" in installation.cloister("env", "show", str(file)).stdout
    keys = [
        json.loads(installation.cloister("env", "why", *args, "--json").stdout)["key"] for args in ([str(file)], [])
    ]
    assert keys[0] != keys[1]
    for command in ("show", "check", "why"):
        refused = installation.cloister("env", command, "absent.toml")
        assert (refused.code, "absent.toml" in refused.stderr) == (2, True), command
