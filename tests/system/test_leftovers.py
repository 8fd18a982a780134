"""The probe for leftovers finds each kind while there is something, so what it says afterwards counts."""

from pathlib import Path

from .installation import Installation
from .leftovers import find_leftovers


def test_everything_is_found_while_an_agent_runs(installation: Installation) -> None:
    with installation.started(*installation.task("echo ready; sleep 600")) as command:
        command.until("output", text="ready")
        found = find_leftovers(installation)
        assert found.kinds() == {"processes", "mounts", "namespaces", "groups", "directories", "devices"}
        [attempt] = {event["attempt"] for event in command.events if event["attempt"]}
        assert {Path(place).name for place in found.directories} >= {attempt, f"{attempt}.agent"}
        for part in ("sleep 600", "supervisor.py", "cloister.egress"):
            assert any(part in process for process in found.processes), part
        assert installation.cloister("task", "cancel", command.task).code == 0
        assert command.end().code == 4


def test_half_a_snapshot_is_found(installation: Installation) -> None:
    half = installation.paths.snapshots / "0123"
    half.mkdir(parents=True)
    assert find_leftovers(installation).directories == {str(half)}
    half.rmdir()
