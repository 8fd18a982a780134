"""The snapshot's key: what of a repository decides it, in one of 1,000 files and in one of 100,000."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from measure import Bar, Report, Samples, publish, take_turns
from sandboxes import Project, git, make_project

from cloister.detection import choose_scripts
from cloister.forges.project_files import KEPT_AS, kept_project_files, read_project_files
from cloister.model.environment import Environment
from cloister.model.sandbox import Commit
from cloister.model.snapshot import recipe_of

ROUNDS = 20
SIZES = (1_000, 100_000)
_LOCK = "package-lock.json"
_NEW, _SEEN, _SEARCH = "cloister, new commit", "cloister, commit seen before", "walk, sha256"


def compute(project: Project, commit: Commit, *, seen: bool) -> Callable[[], Awaitable[float]]:
    """Return a probe that computes the key from the mirror."""

    async def probe() -> float:
        if not seen:
            shutil.rmtree(project.mirror / KEPT_AS, ignore_errors=True)
        environment = Environment(name="bench")
        begun = time.perf_counter()
        files = kept_project_files(project.mirror, commit) or await read_project_files(project.mirror, commit)
        scripts = choose_scripts(environment, base=files, asked=files)
        recipe = recipe_of(
            environment,
            repository="bench",
            image_digest="0" * 64,
            secret_versions={},
            setup_script=scripts.setup,
            dependencies=scripts.dependencies,
        )
        seconds = time.perf_counter() - begun
        if len(recipe.key) != 64 or not scripts.dependencies:
            raise RuntimeError("the lock file was not found")
        return seconds

    return probe


def search(project: Project) -> Callable[[], Awaitable[float]]:
    """Return a probe of what caches keyed by lock files do: walk the work tree for them, and hash each."""

    async def probe() -> float:
        begun = time.perf_counter()
        found = [path for path in project.tree.rglob(_LOCK) if path.is_file()]
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in found]
        seconds = time.perf_counter() - begun
        if len(digests) != 1:
            raise RuntimeError("the lock file was not found")
        return seconds

    return probe


async def _measure(place: Path) -> list[Samples]:
    samples: list[Samples] = []
    for size in SIZES:
        project = make_project(place / str(size), files=size)
        (project.tree / "package.json").write_text("{}")
        (project.tree / _LOCK).write_text("{}\n" * 10_000)
        git(project.tree, "add", "package.json", _LOCK)
        git(project.tree, "-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-qm", "Locked")
        git(project.tree, "push", "--quiet", "origin", "main")
        commit = Commit(git(project.tree, "rev-parse", "HEAD").strip())
        probes = {
            _SEEN: compute(project, commit, seen=True),
            _SEARCH: search(project),
            _NEW: compute(project, commit, seen=False),
        }
        samples += (await take_turns(f"{size:,} files", probes, rounds=ROUNDS)).values()
    return samples


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="key-", dir=state))
    try:
        samples = await _measure(place)
    finally:
        shutil.rmtree(place)
    about = (
        "The key of the snapshot that a task stands on, from a bare mirror: the project's manifests and lock files are "
        "found, automatic setup is planned, and all parts are hashed. A commit that was seen before is read from what "
        "was kept of it. Beside it, a walk over the work tree for one lock file, which is hashed."
    )
    of = {(one.row, one.subject): one.p50 for one in samples}
    small, large = (f"{size:,} files" for size in SIZES)
    bars = (
        Bar(what="100,000 files, new commit / walk", value=of[large, _NEW] / of[large, _SEARCH], at_most=1.0),
        Bar(what="100,000 / 1,000 files, seen before", value=of[large, _SEEN] / of[small, _SEEN], at_most=1.5),
    )
    return publish(Report(name="key", title="The snapshot's key", about=about, samples=tuple(samples), bars=bars))
