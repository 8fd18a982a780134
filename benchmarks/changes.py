"""Change collection: one changed file in a repository of 1,000 files, and in one of 100,000."""

import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from measure import Bar, Report, Samples, publish, take_turns
from sandboxes import Bench, Project, git, make_project, open_bench

from cloister.model.snapshot import SnapshotKey
from cloister.protocols import Sandbox

ROUNDS = 10
SIZES = (1_000, 100_000)
_CHANGED = "folder3/file321.py"


def collect(bench: Bench, sandbox: Sandbox) -> Callable[[], Awaitable[float]]:
    """Return a probe of `changes`, after a program changed one file."""

    async def probe() -> float:
        await bench.run(sandbox, "/bin/sh", "-c", f"date +%N >> /workspace/project/{_CHANGED}")
        begun = time.perf_counter()
        change = await sandbox.changes(bench.project.commit)
        seconds = time.perf_counter() - begun
        if change.stats.files != 1:
            raise RuntimeError(f"one file was changed, not {change.stats.files}")
        return seconds

    return probe


def add_and_diff(project: Project) -> Callable[[], Awaitable[float]]:
    """Return a probe of `git add -A && git diff --cached` in the work tree, after the same."""

    async def probe() -> float:
        with (project.tree / _CHANGED).open("a") as file:
            file.write(f"{time.time_ns()}\n")
        begun = time.perf_counter()
        git(project.tree, "add", "-A")
        git(project.tree, "diff", "--cached", "--binary")
        return time.perf_counter() - begun

    return probe


async def _measure(state: Path, place: Path) -> list[Samples]:
    samples: list[Samples] = []
    for size in SIZES:
        project = make_project(place / str(size), files=size)
        async with open_bench(state, project) as bench, _kept(bench) as key, bench.sandbox(key) as sandbox:
            await sandbox.checkout(project.checkout())
            probes = {"cloister": collect(bench, sandbox), "git add -A, git diff": add_and_diff(project)}
            measured = await take_turns(f"one changed file of {size:,}", probes, rounds=ROUNDS)
            samples += measured.values()
    return samples


@asynccontextmanager
async def _kept(bench: Bench) -> AsyncIterator[SnapshotKey]:
    """A snapshot with the project's work tree in it, as a warm task starts from."""
    key = SnapshotKey(secrets.token_hex(32))
    async with bench.sandbox() as sandbox:
        await sandbox.checkout(bench.project.checkout())
        await sandbox.snapshot(key)
    try:
        yield key
    finally:
        await bench.backend.remove_snapshot(key)


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="changes-", dir=state))
    try:
        samples = await _measure(state, place)
    finally:
        shutil.rmtree(place)
    about = (
        "A program in a warm sandbox changes one file. `changes` finds it in the overlay's upper directory, has git "
        "hash it in a container of the pristine image, and imports the pack on the host; `git add -A && git diff "
        "--cached` looks at every file, in a work tree that lies on the host and whose index is warm."
    )
    small, _, large, _ = samples
    bar = Bar(what="100,000 files / 1,000 files, medians", value=large.p50 / small.p50, at_most=2.0)
    return publish(Report(name="changes", title="Change collection", about=about, samples=tuple(samples), bars=(bar,)))
