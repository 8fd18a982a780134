"""Counts what an installation has here: processes, mounts, namespaces, control groups, directories, loop devices."""

import contextlib
import ctypes
import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import anyio

from cloister.model.sandbox import SandboxName, attempted_sandbox

from .installation import Installation
from .warm import forker

_PR_SET_CHILD_SUBREAPER = 36
_CGROUPS = Path("/sys/fs/cgroup")
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Leftovers:
    """What there is. Nothing of it may be left when every task is over and every command has ended."""

    processes: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    groups: frozenset[str]
    directories: frozenset[str]
    devices: frozenset[str]

    def kinds(self) -> set[str]:
        """The kinds of which there is something."""
        return {each.name for each in fields(self) if getattr(self, each.name)}


def adopt_orphans() -> None:
    """Become the parent of whatever loses its own: so every process that a test started stays in sight."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def find_leftovers(installation: Installation, *, ours: frozenset[int] = frozenset()) -> Leftovers:
    """Look at everything; `ours` are processes that were there before."""
    places = (str(installation.state), str(installation.paths.runtime))
    pids = [pid for pid in descendants() if pid not in ours]
    return Leftovers(
        processes=frozenset(f"{pid} {_command_line(pid)}" for pid in pids),
        mounts=frozenset(line for line in mount_table() if any(place in line for place in places)),
        namespaces=frozenset(_namespaces(pids, places) - _namespaces([os.getpid()], ())),
        groups=frozenset(_groups(installation)),
        directories=frozenset(_directories(installation)),
        devices=frozenset(loop_devices(installation.state)),
    )


def wait_for_none(installation: Installation, *, ours: frozenset[int] = frozenset()) -> Leftovers:
    """Return what is left when nothing more goes: a process closes its sockets a moment before it has ended."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (left := find_leftovers(installation, ours=ours)).kinds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def clear_leftovers(installation: Installation, *, ours: frozenset[int]) -> None:
    """Remove what a failed test left, so that the next one starts clean."""
    for pid in descendants():
        if pid not in ours:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    libc = ctypes.CDLL(None)
    for line in reversed(mount_table()):
        target = line.split()[4]
        if target.startswith((f"{installation.state}/", f"{installation.paths.runtime}/")):
            libc.umount2(target.encode(), 2)


def descendants() -> list[int]:
    """Every living process below this one that a test has to do with."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    children.setdefault(int(parent), []).append(int(entry.name))
    found, waiting = [], [os.getpid()]
    while waiting:
        below = [pid for pid in children.get(waiting.pop(), []) if pid != forker()]
        found += below
        waiting += below
    return found


def mount_table() -> list[str]:
    """Lines of /proc/self/mountinfo."""
    return Path("/proc/self/mountinfo").read_text().splitlines()


def loop_devices(state: Path) -> Iterator[str]:
    """Names of those that show a file below `state`, also one that was deleted."""
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if file.read_text().startswith(f"{state}/"):
                yield file.parts[3]


async def wait_for_no_mounts(*places: Path) -> list[str]:
    """Return what is mounted at or below them when no more goes: a kept disk leaves its volume behind our back."""
    with anyio.move_on_after(_PATIENCE_SECONDS):
        while _mounted(*places):  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return _mounted(*places)


def _mounted(*places: Path) -> list[str]:
    return [line for line in mount_table() if any(str(place) in line for place in places)]


def processes_of(sandbox: str) -> list[str]:
    """Command lines of what runs in the control groups of a sandbox."""
    return [_command_line(pid) for pid in pids_of(sandbox)]


def pids_of(sandbox: str) -> set[int]:
    """What runs in the control groups of a sandbox."""
    name = f"cloister.{sandbox}.*/cgroup.procs"
    pids: set[int] = set()
    for file in [*_CGROUPS.glob(name), *_CGROUPS.glob(f"*/{name}")]:
        with contextlib.suppress(OSError):
            pids |= {int(line) for line in file.read_text().split()}
    return pids


def times_throttled(sandbox: str) -> int:
    """In how many periods the processes of a sandbox had used up the processor time that they may have."""
    name = f"cloister.{sandbox}.*/cpu.stat"
    lines = [
        line.split()
        for file in {*_CGROUPS.glob(name), *_CGROUPS.glob(f"cpu/{name}")}
        for line in file.read_text().splitlines()
    ]
    return max(int(count) for key, count in lines if key == "nr_throttled")


def _namespaces(pids: Sequence[int], places: Sequence[str]) -> set[str]:
    """Those of processes, and those that a mount at one of these places keeps."""
    kept = [line for line in mount_table() if " nsfs " in line and any(place in line for place in places)]
    found = {line.split()[3] for line in kept}
    for pid in pids:
        with contextlib.suppress(OSError):
            found |= {str(link.readlink()) for link in Path(f"/proc/{pid}/ns").iterdir()}
    return found


def _groups(installation: Installation) -> Iterator[str]:
    names = _attempts(installation)
    for group in [*_CGROUPS.glob("cloister.*"), *_CGROUPS.glob("*/cloister.*")]:
        if attempted_sandbox(SandboxName(group.name.split(".")[1])) in names:
            yield str(group)


def _attempts(installation: Installation) -> set[str]:
    file = installation.state / "cloister.db"
    if not file.exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return {name for (name,) in database.execute("SELECT id FROM attempts")}


def _directories(installation: Installation) -> Iterator[str]:
    paths = installation.paths
    for place in (
        *(paths.disks, paths.spare_disks, paths.trash, paths.sandboxes, paths.spare_sandboxes, paths.containers),
        installation.state / "workers",
    ):
        if place.exists():
            yield from (str(entry) for entry in place.iterdir())
    if paths.runtime.exists():
        yield str(paths.runtime)
    for snapshot in paths.snapshots.glob("*"):
        if not (snapshot / "snapshot.json").exists():
            yield str(snapshot)


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""
