"""The probe for leftovers finds each kind while there is something, so what it says afterwards counts."""

import time
from pathlib import Path

from .installation import Installation
from .leftovers import Leftovers, find_leftovers, wait_for_none


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


def test_spares_of_a_killed_worker_are_found_and_go_with_the_next_command(installation: Installation) -> None:
    with installation.started("worker") as command:
        deadline = time.monotonic() + 60
        while len((found := _spares(installation)).devices) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found.kinds() >= {"mounts", "namespaces", "directories", "devices"}
        command.kill()
    left = _spares(installation)
    assert (left.mounts, left.namespaces, left.devices) == (found.mounts, found.namespaces, found.devices)
    assert installation.cloister("clean").code == 0
    left = wait_for_none(installation)
    assert left.kinds() == set(), left


def _spares(installation: Installation) -> Leftovers:
    """What there is, once namespaces and volumes are made in pairs."""
    deadline = time.monotonic() + 60
    while len((found := find_leftovers(installation)).mounts) % 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
