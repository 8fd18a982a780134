"""Stored environments over their whole life: each task keeps the version that it ran with."""

import json

from .installation import Installation

SCRIPT = '[setup]\nscript = "echo {} >/etc/made-by"\n[network]\nsetup = "off"\n'


def run(installation: Installation, env: str) -> tuple[str, str, list[str]]:
    """Return the task, what its agent read, and what was said of the snapshot."""
    ran = installation.cloister("run", "--json", "--env", env, "--command", "cat /etc/made-by", "read it")
    assert ran.code == 0, ran.stdout + ran.stderr
    told = ("snapshot_missed", "snapshot_hit", "snapshot_saved")  # and no digest, which may be known or not
    said = [event["event"] + " " + event.get("reason", "") for event in ran.events if event["event"] in told]
    printed = [event["text"] for event in ran.events if event["event"] == "output" and event["command"] == "agent"]
    return ran.events[0]["task"], "".join(printed).strip(), said


def source(installation: Installation, task: str) -> dict[str, object]:
    told = json.loads(installation.cloister("task", "show", task, "--json").stdout)
    return dict(told["environment_source"])


def test_a_stored_environment_from_its_creation_to_its_end(installation: Installation) -> None:
    file = installation.write(SCRIPT.format("one"))
    assert installation.cloister("env", "create", "web", "--file", file).code == 0
    first, read, said = run(installation, "web")
    assert (read, said) == ("one", ["snapshot_missed first use of this environment", "snapshot_saved "])
    assert run(installation, "web")[1:] == ("one", ["snapshot_hit "])

    installation.write(SCRIPT.format("two"))
    assert installation.cloister("env", "edit", "web", "--file", file).stdout == "stored web, version 2\n"
    assert "changed: setup script" in installation.cloister("env", "why", "web").stdout
    second, read, said = run(installation, "web")
    assert (read, said) == ("two", ["snapshot_missed changed: setup script", "snapshot_saved "])

    deleted = installation.cloister("env", "delete", "web")
    assert deleted.stdout.startswith("deleted web, with 2 snapshots;"), deleted.stderr
    refused = installation.cloister("run", "--env", "web", "--command", "true", "read it")
    assert (refused.code, "was deleted at" in refused.stderr) == (2, True), refused.stderr
    assert [source(installation, task)["version"] for task in (first, second)] == [1, 2]
    assert "echo one" in installation.cloister("env", "show", "web", "--version", "1", "--text").stdout
    assert list(installation.paths.snapshots.iterdir()) == [], "no disk is left of it"
