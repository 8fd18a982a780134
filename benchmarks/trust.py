"""Trust: a disk searched for secrets, instructions looked for, and what the clean room costs besides its checks."""

import os
import secrets
import shutil
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import anyio
from measure import Bar, Report, Samples, paired_ratio, publish, take_turns
from sandboxes import make_project

from cloister.encodings import forms_of
from cloister.model.request import EnvironmentText, Request
from cloister.model.secret import SecretValue
from cloister.model.task import Outcome, Verdict
from cloister.sandboxes.oci.instructions import find_instructions
from cloister.sandboxes.oci.searcher import search_disk
from cloister.settings import Settings
from cloister.wiring import open_application

ROUNDS = 3
VALUES = 5
FILES, FILE_BYTES = 50_000, 38_000
LARGE_FILES, LARGE_BYTES = 30, 10_000_000
INSTRUCTION_FILES = 100_000
CLEAN_ROOM_TASKS = 7
_OURS = "cloister"
_ENVIRONMENT = '[setup]\nautomatic = false\n[network]\nsetup = "off"\n'
_CHECK = '[limits]\nrounds = 0\n[checks]\nnothing = "true"\n'


def make_disk(place: Path) -> int:
    """Write what a large setup writes: 2 GB, most of it text in small files. Return how many bytes."""
    text = b"".join(path.read_bytes() for path in sorted(Path(os.__file__).parent.glob("*.py")))
    while len(text) < FILE_BYTES * 64:
        text += text
    for number in range(FILES):
        folder = place / "opt" / f"folder{number // 500}"
        folder.mkdir(parents=True, exist_ok=True)
        begin = number * 7919 % (len(text) - FILE_BYTES)
        (folder / f"{number}.js").write_bytes(text[begin : begin + FILE_BYTES])
    for number in range(LARGE_FILES):
        (place / "opt" / f"{number}.so").write_bytes(secrets.token_bytes(LARGE_BYTES))
    return FILES * FILE_BYTES + LARGE_FILES * LARGE_BYTES


def make_tree(place: Path) -> None:
    """Write what a build leaves in a work tree, without any instructions."""
    for number in range(INSTRUCTION_FILES):
        folder = place / "workspace" / "project" / "build" / f"folder{number // 500}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.o").touch()


def searching(disk: Path, values: dict[str, SecretValue]) -> Callable[[], Awaitable[float]]:
    """Return a probe of the residue gate's search."""

    async def probe() -> float:
        begun = perf_counter()
        if await search_disk(disk, values):
            raise RuntimeError("there is nothing to be found")
        return perf_counter() - begun

    return probe


def grepping(disk: Path, values: dict[str, SecretValue], place: Path) -> Callable[[], Awaitable[float]]:
    """Return a probe of grep for the same forms, which are not looked for in archives or over broken lines."""
    forms = sorted({form for value in values.values() for form in forms_of(value.reveal()) if b"\n" not in form})
    patterns = place / "patterns"
    patterns.write_bytes(b"\n".join(forms) + b"\n")
    command = ("grep", "--recursive", "--quiet", "--fixed-strings", "--file", str(patterns), str(disk))

    async def probe() -> float:
        begun = perf_counter()
        done = await anyio.run_process(command, check=False, env={**os.environ, "LC_ALL": "C"})
        if done.returncode != 1:
            raise RuntimeError("there is nothing to be found")
        return perf_counter() - begun

    return probe


def looking(tree: Path) -> Callable[[], Awaitable[float]]:
    """Return a probe of the look for instructions in what was written."""

    async def probe() -> float:
        begun = perf_counter()
        if find_instructions(tree, "project"):
            raise RuntimeError("there is nothing to be found")
        return perf_counter() - begun

    return probe


def finding(tree: Path) -> Callable[[], Awaitable[float]]:
    """Return a probe of find(1) over the same."""

    async def probe() -> float:
        begun = perf_counter()
        await anyio.run_process(["find", str(tree), "-name", "AGENTS.md"])
        return perf_counter() - begun

    return probe


async def measure_clean_room(state: Path, place: Path) -> list[Samples]:
    """Return what output takes without checks, and with one that does nothing, without that check's own time."""
    project = make_project(place / "project", files=1000)
    without: list[float] = []
    with_check: list[float] = []
    async with open_application(Settings(state=state)) as application:
        for _ in range(CLEAN_ROOM_TASKS + 1):
            for kept, text in ((without, _ENVIRONMENT), (with_check, _ENVIRONMENT + _CHECK)):
                request = Request(
                    repository=str(project.tree),
                    prompt="change a file",
                    command="echo changed >>folder0/file1.py",
                    environment=EnvironmentText(source="environment.toml", raw=text.encode()),
                )
                task = await application.intake.submit(request)
                await application.work(until_idle=True)
                (attempt,) = (await application.intake.task(task.id)).attempts
                assert attempt.outcome is not None
                kept.append(_output_seconds(attempt.outcome))
    row = "output of a task, one changed file"
    return [
        Samples(row=row, subject="no checks", values=tuple(value * 1000 for value in without[1:])),
        Samples(
            row=row, subject="clean room, without its check", values=tuple(value * 1000 for value in with_check[1:])
        ),
    ]


def _output_seconds(outcome: Outcome) -> float:
    if outcome.verdict is not Verdict.SUCCEEDED or not all(result.ok for result in outcome.checks):
        raise RuntimeError(str(outcome))
    (seconds,) = [value for phase, value in outcome.seconds.items() if phase == "output"]
    return seconds - sum(result.seconds for result in outcome.checks)


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="trust-", dir=state))
    values = {f"SECRET_{number}": SecretValue(secrets.token_urlsafe(30)) for number in range(VALUES)}
    try:
        size = make_disk(place / "disk")
        make_tree(place / "tree")
        row = f"{FILES:,} files, {size / 1e9:.1f} GB, searched for {VALUES} secrets"
        disk = place / "disk"
        searched = await take_turns(
            row, {_OURS: searching(disk, values), "grep": grepping(disk, values, place)}, rounds=ROUNDS
        )
        row = f"{INSTRUCTION_FILES:,} files looked through for instructions"
        looked = await take_turns(row, {_OURS: looking(place / "tree"), "find": finding(place / "tree")}, rounds=ROUNDS)
        rooms = await measure_clean_room(state, place)
    finally:
        shutil.rmtree(place)
    rate = size / 1e6 / (statistics.median(searched[_OURS].values) / 1000)
    added = rooms[1].p50 - rooms[0].p50
    about = (
        f"What setup wrote is searched for secrets in all their forms, at {rate:.0f} MB a second here; `grep` searches "
        "for the same forms, but for those in archives and over broken lines. What setup wrote in a work tree is "
        "looked through for files that tell agents what to do, beside `find`. And the output of a task with a check "
        "that does nothing, whose own time is taken off, beside the same without: what is left is the clean room."
    )
    bars = (
        Bar(what="search / grep", value=paired_ratio(*searched.values()), at_most=1.0),
        Bar(what="300 MB a second / rate of the search", value=300 / rate, at_most=1.0),
        Bar(what="clean room besides its checks", value=added, at_most=150, unit="ms"),
    )
    samples = (*searched.values(), *looked.values(), *rooms)
    return publish(Report(name="trust", title="Trust", about=about, samples=samples, bars=bars))
