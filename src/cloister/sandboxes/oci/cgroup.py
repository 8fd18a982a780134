"""Control groups on hosts with version 1, version 2 or both."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from cloister.errors import HostError

ROOT = Path("/sys/fs/cgroup")

_CONTROLLERS = "+cpu +memory +pids"
_HOLDER = "=controllers"
"""No command of ours has this id."""
_HASTE_SECONDS = 0.1
_BETWEEN_ENTRIES_SECONDS = 0.006
"""Less than the grace period after which the next writer waits anew."""


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


class HastenedEntry:
    """Lets the kernel wait now for what it would wait for when a container's first process enters its group.

    Entering takes a lock whose first writer waits for an RCU grace period, 4 to 20 ms, and those who come within the
    next few do not (percpu_rwsem; cgroup_threadgroup_rwsem). To write our own process into the group that it is in
    takes that lock and changes nothing. A thread does so again and again, while containers are about to start.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Do so from now on, for as long as a start takes if all goes well. Returns at once."""
        self._until = time.monotonic() + _HASTE_SECONDS
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._enter_own_group, name="cloister-cgroup", daemon=True)
            self._thread.start()

    def _enter_own_group(self) -> None:
        with contextlib.suppress(OSError):
            own = list(_own_groups(Path("/proc/self/cgroup").read_text()))
            while time.monotonic() < self._until:
                for group in own:
                    (group / "cgroup.procs").write_text("0")
                time.sleep(_BETWEEN_ENTRIES_SECONDS)


def _own_groups(memberships: str) -> Iterator[Path]:
    """Yield, of what /proc/self/cgroup says, the group that counts processes; none where no hierarchy does."""
    hierarchy, controller = (ROOT, "") if find_layout() is CgroupLayout.V2 else (ROOT / "pids", "pids")
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):  # some are mounted together, as `cpu,cpuacct` is
            yield hierarchy / path.lstrip("/")


def path_of(container: str) -> str:
    """The group of a container, as the OCI specification's `cgroupsPath`: one level, so no parent is left behind."""
    return f"/cloister.{container}"


def hold_controllers(sandbox: str) -> None:
    """Keep the limits of a sandbox's containers in force for as long as its groups are there; version 2 only.

    A group of version 2 has the limits that its parent has switched on. The parent of ours is systemd's root, and
    at each `systemctl daemon-reload` systemd switches off what its own units do not use, mostly `cpu`: the limit is
    gone. The kernel refuses that (EBUSY) while a child hands the controller on to its children, so an empty group
    does. `remove_groups` removes it with the others. HostError when a controller cannot be switched on.
    """
    if find_layout() is not CgroupLayout.V2:
        return
    holder = ROOT / f"cloister.{sandbox}.{_HOLDER}"
    try:
        holder.mkdir(exist_ok=True)
        for group in (ROOT, holder):
            (group / "cgroup.subtree_control").write_text(_CONTROLLERS)
    except OSError as error:
        raise HostError(f"control groups cannot hold limits: {error}", hint="cloister doctor") from error


def memory_counters(container: str) -> list[str]:
    """Files that count kills for lack of memory in a container's group, whichever of them exist."""
    group = path_of(container).lstrip("/")
    return [str(ROOT / "memory" / group / "memory.oom_control"), str(ROOT / group / "memory.events")]


def time_counters(container: str) -> list[str]:
    """Files that tell how long a container's group has computed, whichever of them exist."""
    group = path_of(container).lstrip("/")
    first = [str(ROOT / name / group / "cpuacct.usage") for name in ("cpuacct", "cpu,cpuacct")]
    return [*first, str(ROOT / group / "cpu.stat")]


def member_file(container: str) -> str:
    """The file that lists the processes of a container."""
    hierarchy = ROOT if find_layout() is CgroupLayout.V2 else ROOT / "pids"
    return str(hierarchy / path_of(container).lstrip("/") / "cgroup.procs")


def members_of(prefix: str) -> list[int]:
    """Return the processes in the groups of containers whose name begins with `prefix`, lowest number first."""
    hierarchy = ROOT if find_layout() is CgroupLayout.V2 else ROOT / "pids"
    return sorted(pid for group in hierarchy.glob(f"cloister.{prefix}*") for pid in _members(group))


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
