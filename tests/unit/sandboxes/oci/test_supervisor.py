"""What a supervisor does to its own process only."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import os, sys
from cloister.sandboxes.oci import supervisor
if sys.argv[2] == "hidden":
    supervisor.hide_mount(sys.argv[1])
print(os.listdir(sys.argv[1]))
os.mkdir(os.path.join(sys.argv[1], "new"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
@pytest.mark.parametrize(("how", "status", "seen"), [("hidden", 0, "[]\n"), ("as it is", 1, "['file']\n")])
def test_a_hidden_directory_is_empty_and_writable_for_the_runtime_alone(
    tmp_path: Path, how: str, status: int, seen: str
) -> None:
    """And the twin: below systemd's /sys/fs/cgroup no directory can be made, which crun wants to."""
    (tmp_path / "file").touch()
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" -c "$3" "$1" "$4"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, PROBE, how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, seen), done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
