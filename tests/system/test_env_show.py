"""`cloister env show`: what setup would do, told before anything runs."""

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
