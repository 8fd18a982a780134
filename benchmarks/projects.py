"""Projects: real ones without an environment file, as a first task finds them and as the second does."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from measure import Bar, Report, Samples, paired_ratio, publish
from sandboxes import git

from cloister.errors import NotFoundError
from cloister.model.event import Output, SnapshotHit, TaskFinished
from cloister.model.request import Request
from cloister.model.task import Verdict
from cloister.sandboxes.oci.image import OciImageStore
from cloister.settings import Settings
from cloister.wiring import Application, open_application

ROUNDS = 3
_COLD, _WARM = "cloister, cold", "cloister, warm"
_AT_MOST = 0.05
"""A second run is at least 95 % faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A published project."""

    name: str
    version: str
    tool: str
    """The package manager that installs it."""
    proof: str
    """Fails when its dependencies, or those of its tests, are not there."""


PROJECTS = (
    Real(
        name="jupyter_client", version="8.6.3", tool="pip", proof="python -c 'import jupyter_client, pytest, ipykernel'"
    ),
    Real(
        name="express",
        version="5.1.0",
        tool="npm",
        proof="node_modules/.bin/mocha --version && node -e 'require(\".\")'",
    ),
    Real(name="flask", version="3.1.2", tool="uv", proof="python -c 'import flask, pytest, werkzeug'"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """How long one task took, in seconds since it was accepted."""

    to_agent: float
    whole: float


def make_repository(real: Real, place: Path) -> Path:
    """Fetch what was published, lock it with today's versions where its tool has a lock file, and commit it."""
    place.mkdir()
    if real.tool == "npm":
        _call(place, "npm", "pack", "--silent", f"{real.name}@{real.version}")
    else:
        pinned = f"{real.name}=={real.version}"
        pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
        _call(place, *pip, "download", "--no-deps", "--no-binary", real.name, pinned)
    (archive,) = [path for path in place.iterdir() if path.suffix in (".gz", ".tgz")]
    with tarfile.open(archive) as opened:
        opened.extraction_filter = getattr(tarfile, "data_filter", None)  # no argument: Python 3.11.2 has none
        opened.extractall(place)
    archive.unlink()
    (tree,) = place.iterdir()
    _lock(real, tree, place)
    (tree / ".gitignore").write_text("node_modules\n*.egg-info\n__pycache__\n")
    git(tree, "init", "--quiet", "--initial-branch", "main")
    git(tree, "add", "--all")
    git(
        tree,
        "-c",
        "user.name=bench",
        "-c",
        "user.email=bench@example.com",
        "commit",
        "--quiet",
        "--message",
        "Published",
    )
    return tree


def _lock(real: Real, tree: Path, place: Path) -> None:
    if real.tool == "npm":
        _call(tree, "npm", "install", "--package-lock-only", "--ignore-scripts", "--no-fund", "--no-audit", "--silent")
    if real.tool == "uv":  # anew: a published lock file names a registry that this machine may not use
        (tree / "uv.lock").unlink(missing_ok=True)
        venv = place / "venv"
        _call(place, sys.executable, "-m", "venv", str(venv))
        _call(place, str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "uv")
        _call(tree, str(venv / "bin/uv"), "lock", "--quiet")


def _call(folder: Path, *words: str) -> None:
    subprocess.run(words, cwd=folder, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


async def run_task(application: Application, tree: Path, real: Real, *, warm: bool) -> Run:
    """Run a task whose agent prints the clock, and proves that what it needs is there."""
    request = Request(repository=str(tree), prompt="Is it ready?", command=f"date +%s%N; {real.proof}")
    task = await application.intake.submit(request)
    printed, hit, finished_at = "", False, task.accepted_at
    async for recorded in application.intake.events(task.id, follow=True):
        match recorded.event:
            case Output(command="agent", text=text):
                printed += text
            case SnapshotHit():
                hit = True
            case TaskFinished():
                finished_at = recorded.at
    status = await application.intake.task(task.id)
    if status.verdict is not Verdict.SUCCEEDED or hit is not warm:
        raise RuntimeError(f"{real.name}: {status.verdict}, snapshot {hit=}: {status.attempts[0].outcome}; {printed}")
    began = int(printed.split()[0]) / 1e9
    accepted = task.accepted_at.timestamp()
    return Run(to_agent=began - accepted, whole=finished_at.timestamp() - accepted)


async def measure(application: Application, tree: Path, real: Real) -> list[Samples]:
    """Run it cold and then warm, in every round anew."""
    runs: Mapping[str, list[Run]] = {_COLD: [], _WARM: []}
    for _ in range(ROUNDS):
        with suppress(NotFoundError):  # the first time
            await application.intake.snapshots.reset(str(tree))
        for subject, kept in runs.items():
            kept.append(await run_task(application, tree, real, warm=subject == _WARM))
    return [
        Samples(
            row=f"{real.name} ({real.tool}), {row}", subject=subject, values=tuple(seconds(run) * 1000 for run in kept)
        )
        for row, seconds in (("to its agent", lambda run: run.to_agent), ("whole task", lambda run: run.whole))
        for subject, kept in runs.items()
    ]


async def _measure_all(state: Path, place: Path) -> list[list[Samples]]:
    await OciImageStore(state).ensure("base")
    trees = {real: make_repository(real, place / real.name) for real in PROJECTS}
    found: list[list[Samples]] = []
    async with open_application(Settings(state=state)) as application, anyio.create_task_group() as group:
        group.start_soon(application.work)
        found = [await measure(application, tree, real) for real, tree in trees.items()]
        for tree in trees.values():
            await application.intake.snapshots.reset(str(tree))
        group.cancel_scope.cancel()
    return found


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="projects-", dir=state))
    try:
        found = await _measure_all(state, place)
    finally:
        shutil.rmtree(place)
    names = ", ".join(f"{real.name} {real.version} ({real.tool})" for real in PROJECTS)
    about = (
        f"Real projects as they were published, without an environment file: {names}. Each is a repository of one "
        "commit; the lock files of npm and uv are made with today's versions. A cold task finds nothing kept: setup "
        "detects the package manager, installs what the project and its tests need from the machine's registries, and "
        "keeps the disk. The next task is warm. `to its agent` is from the acceptance of the task to its agent's first "
        "instruction; `whole task` is to its end, with an agent that only uses what was installed."
    )
    bars = tuple(
        Bar(what=f"{cold.row}, warm / cold, median of pairs", value=paired_ratio(warm, cold), at_most=_AT_MOST)
        for samples in found
        for cold, warm in zip(samples[::2], samples[1::2], strict=True)
    )
    samples = tuple(one for samples in found for one in samples)
    return publish(Report(name="projects", title="Real projects", about=about, samples=samples, bars=bars))
