"""Snapshot: keep a disk of 10 MB and one of 5 GB in 100,000 files, and start from each."""

import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from docker import IMAGE, Docker, open_docker
from measure import Bar, Report, Samples, paired_ratio, publish, take_turns
from sandboxes import NOW, Bench, make_project, open_bench

from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci.image import OciImageStore

START_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is written to a disk before it is kept."""

    name: str
    files: int
    file_bytes: int
    rounds: int

    def program(self) -> tuple[str, ...]:
        """The program that writes it."""
        script = (
            "import os\n"
            f"data = os.urandom({self.file_bytes})\n"
            f"for number in range({self.files}):\n"
            "    folder = f'/opt/data/{number // 1000}'\n"
            "    os.makedirs(folder, exist_ok=True)\n"
            "    open(f'{folder}/{number}', 'wb').write(data)\n"
        )
        return ("/usr/bin/python3", "-c", script)


SMALL = Size(name="10 MB in 200 files", files=200, file_bytes=50_000, rounds=5)
LARGE = Size(name="5 GB in 100,000 files", files=100_000, file_bytes=50_000, rounds=1)


class OurSide:
    """Snapshots of sandboxes; the last one of each size is kept to start from."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.kept: dict[str, SnapshotKey] = {}

    def keep(self, size: Size) -> Callable[[], Awaitable[float]]:
        """Return a probe of `snapshot`, after a checkout and a setup that wrote that much."""

        async def probe() -> float:
            key = SnapshotKey(secrets.token_hex(32))
            async with self._bench.sandbox() as sandbox:
                await sandbox.checkout(self._bench.project.checkout())
                await self._bench.run(sandbox, *size.program())
                await sandbox.checkout(self._bench.project.checkout())  # what setup did to tracked files is not kept
                begun = time.perf_counter()
                await sandbox.snapshot(key)
                seconds = time.perf_counter() - begun
            await self._forget(size)
            self.kept[size.name] = key
            return seconds

        return probe

    def start(self, size: Size) -> Callable[[], Awaitable[float]]:
        """Return a probe from `create` on the kept disk to the first instruction of a program."""

        async def probe() -> float:
            begun = time.time()
            async with self._bench.sandbox(self.kept[size.name]) as sandbox:
                await sandbox.checkout(self._bench.project.checkout())
                return int(await self._bench.run(sandbox, *NOW)) / 1e9 - begun

        return probe

    async def forget_all(self) -> None:
        """Remove what was kept."""
        for size in (SMALL, LARGE):
            await self._forget(size)

    async def _forget(self, size: Size) -> None:
        if former := self.kept.pop(size.name, None):
            await self._bench.backend.remove_snapshot(former)


class DockerSide:
    """Images committed from stopped containers."""

    def __init__(self, docker: Docker) -> None:
        self._docker = docker
        self.kept: dict[str, str] = {}

    def keep(self, size: Size) -> Callable[[], Awaitable[float]]:
        """Return a probe of `docker commit`, after a container wrote that much and ended."""

        async def probe() -> float:
            container = f"bench-{secrets.token_hex(4)}"
            await self._docker.call("run", "--name", container, "--network", "none", IMAGE, *size.program())
            image = f"kept:{container}"
            seconds = await self._docker.timed("commit", container, image)
            await self._docker.call("rm", container)
            self.kept[size.name] = image
            return seconds

        return probe

    def start(self, size: Size) -> Callable[[], Awaitable[float]]:
        """Return a probe from `docker run` of the kept image to the first instruction."""

        async def probe() -> float:
            begun = time.time()
            printed = await self._docker.call("run", "--rm", "--network", "none", self.kept[size.name], *NOW)
            return int(printed) / 1e9 - begun

        return probe


async def _measure(state: Path, place: Path) -> dict[str, dict[str, Samples]]:
    images = OciImageStore(state)
    rootfs = images.rootfs(await images.ensure("base"))
    async with open_docker(state) as docker, open_bench(state, make_project(place, files=100)) as bench:
        await docker.import_rootfs(rootfs)
        ours, theirs = OurSide(bench), DockerSide(docker)
        measured = {}
        for size in (SMALL, LARGE):
            measured[f"keep {size.name}"] = await take_turns(
                f"keep {size.name}",
                {"cloister": ours.keep(size), "docker commit, run": theirs.keep(size)},
                rounds=size.rounds,
                warm_up=size.rounds > 1,
            )
        for size in (SMALL, LARGE):
            measured[f"start from {size.name}"] = await take_turns(
                f"start from {size.name}",
                {"cloister": ours.start(size), "docker commit, run": theirs.start(size)},
                rounds=START_ROUNDS,
            )
        await ours.forget_all()
        return measured


def _bars(measured: dict[str, dict[str, Samples]]) -> tuple[Bar, ...]:
    ratios = [
        Bar(what=f"{row} / docker commit, median of pairs", value=paired_ratio(*of_row.values()), at_most=1 / 50)
        for row, of_row in measured.items()
        if row.startswith("keep")
    ]
    medians = [of_row["cloister"].p50 for of_row in measured.values()]
    keeping, starting = abs(medians[1] - medians[0]), abs(medians[3] - medians[2])
    return (
        *ratios,
        Bar(what="keeping, large - small", value=keeping, at_most=20.0, unit="ms"),
        Bar(what="starting, large - small", value=starting, at_most=20.0, unit="ms"),
    )


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="snapshot-", dir=state))
    try:
        measured = await _measure(state, place / "project")
    finally:
        shutil.rmtree(place)
    about = (
        "A container has written 10 MB, or 5 GB in 100,000 files, and ended. `snapshot` puts the work tree in order "
        "(in a container of the pristine image) and renames the disk; `docker commit` copies it. Then the time from "
        "the request for a sandbox on the kept disk to the first instruction of a program in it, and the same for "
        "`docker run` of the committed image."
    )
    samples = tuple(samples for of_row in measured.values() for samples in of_row.values())
    return publish(Report(name="snapshot", title="Snapshot", about=about, samples=samples, bars=_bars(measured)))
