"""Our own processes: how long a command takes to start, and what a server holds that has nothing to do."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
from docker import open_docker
from measure import Bar, Probe, Report, Samples, publish, take_turns
from served import PROGRAM, running

ROUNDS = 10
_SETTLED_SECONDS = 3.0
_HELP, _LIST, _IDLE = "help", "list tasks, or containers", "memory when idle"


def _times(environment: Mapping[str, str], *command: str) -> Probe:
    async def probe() -> float:
        begun = time.perf_counter()
        await anyio.run_process(command, env={**os.environ, **environment})
        return time.perf_counter() - begun

    return probe


def _resident(pid: int) -> float:
    """Return the mebibytes that a process has in memory (proc_pid_statm(5))."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _held(subject: str, mebibytes: float) -> Samples:
    return Samples(row=_IDLE, subject=subject, values=(mebibytes,), unit="MiB")


async def _measure(place: Path) -> list[Samples]:
    own = {"CLOISTER_STATE": str(place / "state")}
    list_tasks = _times(own, *PROGRAM, "task", "list")
    samples: list[Samples] = []
    async with open_docker(place) as docker:
        subjects = {
            "python, that does nothing": _times(own, sys.executable, "-c", "pass"),
            "cloister": _times(own, *PROGRAM, "--help"),
            "cloister, of one command": _times(own, *PROGRAM, "task", "list", "--help"),
            "docker": lambda: docker.timed("--help"),
        }
        samples += (await take_turns(_HELP, subjects, rounds=ROUNDS)).values()
        samples += (await take_turns(_LIST, {"cloister, without a server": list_tasks}, rounds=ROUNDS)).values()
        async with running(place / "state"):
            subjects = {"cloister, of a server": list_tasks, "docker": lambda: docker.timed("ps")}
            samples += (await take_turns(_LIST, subjects, rounds=ROUNDS)).values()
        async with running(place / "state") as server:
            await anyio.sleep(_SETTLED_SECONDS)
            samples.append(_held("cloister, server", _resident(server)))
            samples += (_held("cloister, egress process", _resident(child)) for child in _children(server))
        samples.append(
            _held("docker, dockerd and containerd", sum(map(_resident, (docker.daemon, *_children(docker.daemon)))))
        )
    return samples


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="processes-", dir=state))
    try:
        samples = await _measure(place)
    finally:
        shutil.rmtree(place)
    about = (
        "What there is before any task: the time of a command that prints its help, and of an interpreter "
        "that does nothing; of a command that lists nothing, with the service inside it or asked of a server; and the "
        "memory (resident) of a server that nobody has asked anything. Beside it the same of docker."
    )
    of = {(one.row, one.subject): one.p50 for one in samples}
    bars = (
        Bar(what="cloister --help", value=of[_HELP, "cloister"], at_most=300, unit="ms"),
        Bar(what="server when idle", value=of[_IDLE, "cloister, server"], at_most=150, unit="MiB"),
    )
    return publish(Report(name="processes", title="Our own processes", about=about, samples=tuple(samples), bars=bars))
