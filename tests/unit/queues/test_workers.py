"""Locks that tell the living from the dead."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloister.errors import StoreError
from cloister.queues.workers import WorkerLocks

HOLD = """
import sys, time
from pathlib import Path
from cloister.queues.workers import WorkerLocks

with WorkerLocks(Path(sys.argv[1])).held() as name:
    print(name, flush=True)
    time.sleep(600)
"""


def test_a_place_that_cannot_hold_locks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "workers").write_text("a file")
    with pytest.raises(StoreError, match="cannot hold a worker's lock"), WorkerLocks(tmp_path / "workers").held():
        pass


def test_a_worker_that_never_was_is_dead(tmp_path: Path) -> None:
    assert WorkerLocks(tmp_path).is_dead("never-was")


def test_a_worker_lives_as_long_as_its_block(tmp_path: Path) -> None:
    locks = WorkerLocks(tmp_path / "workers")
    with locks.held() as first, WorkerLocks(tmp_path / "workers").held() as second:
        assert first != second
        assert not locks.is_dead(first)
        assert not locks.is_dead(second)
    assert locks.is_dead(first)
    assert list((tmp_path / "workers").iterdir()) == []


def test_a_killed_worker_is_dead_and_swept_away_and_a_living_one_is_not(tmp_path: Path) -> None:
    locks = WorkerLocks(tmp_path)
    with locks.held() as living:
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            name = process.stdout.readline().strip()
            assert not locks.is_dead(name)
            os.kill(process.pid, signal.SIGKILL)
        assert locks.is_dead(name)
        with locks.held() as next_one:
            assert {path.stem for path in tmp_path.iterdir()} == {living, next_one}
