"""Control groups on hosts with version 1, version 2 or both."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


class CgroupLayout(StrEnum):
    """Which hierarchies the host has mounted."""

    V1 = "version 1"
    V2 = "version 2"
    HYBRID = "version 1 with an extra version 2 hierarchy"


def find_layout() -> CgroupLayout:
    """Look at /sys/fs/cgroup, as systemd's documentation tells to."""
    if (ROOT / "cgroup.controllers").exists():
        return CgroupLayout.V2
    return CgroupLayout.HYBRID if (ROOT / "unified" / "cgroup.procs").exists() else CgroupLayout.V1


def path_of(container: str) -> str:
    """The group of a container, as the OCI specification's `cgroupsPath`: one level, so no parent is left behind."""
    return f"/cloister.{container}"


def memory_counters(container: str) -> list[str]:
    """Files that count kills for lack of memory in a container's group, whichever of them exist."""
    group = path_of(container).lstrip("/")
    return [str(ROOT / "memory" / group / "memory.oom_control"), str(ROOT / group / "memory.events")]


def remove_groups(prefix: str) -> None:
    """Kill what is left in the groups of containers whose name begins with `prefix`, and remove the groups."""
    for group in list(_groups(prefix)):
        for _ in range(50):
            for pid in _members(group):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                group.rmdir()
            except FileNotFoundError:
                break
            except OSError:  # busy until the kernel has buried the dead
                time.sleep(0.01)
            else:
                break


def _groups(prefix: str) -> Iterator[Path]:
    pattern = f"cloister.{prefix}*"
    yield from ROOT.glob(pattern)
    yield from ROOT.glob(f"*/{pattern}")


def _members(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []
