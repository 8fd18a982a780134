"""Our side of a comparison: repositories to work on, and sandboxes on a state directory of the benchmarks' own."""

import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cloister.model.environment import Limits
from cloister.model.quantity import GIB, MINUTE
from cloister.model.sandbox import Checkout, Command, Commit, ImageDigest, SandboxName, SandboxSpec, Stream
from cloister.model.snapshot import SnapshotKey
from cloister.protocols import Process, Sandbox, SandboxBackend
from cloister.sandboxes.oci.backend import open_backend
from cloister.sandboxes.oci.image import OciImageStore

NOW = ("/bin/date", "+%s%N")
"""Prints the clock in nanoseconds; the same program in every kind of container, and the first thing it does."""
CLOCK = "echo $EPOCHREALTIME"
"""For the agent that is a shell: prints the clock in seconds as its first instruction, and starts no other program."""
SHELL_CLOCK = ("/bin/bash", "-c", CLOCK)
"""What that agent runs, for other kinds of containers."""
DIRECTORY = "project"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A repository with a work tree, and a bare mirror of it."""

    tree: Path
    mirror: Path
    commit: Commit

    def checkout(self) -> Checkout:
        """Its state, as a task asks for it."""
        return Checkout(commit=self.commit, branch="cloister/bench", origin=str(self.tree))


def make_project(place: Path, *, files: int) -> Project:
    """Make a repository of `files` small files, a hundred to a folder, below a new directory `place`."""
    tree, mirror = place / DIRECTORY, place / f"{secrets.token_hex(8)}.git"
    place.mkdir(parents=True)
    git(place, "init", "--quiet", "--bare", "--initial-branch", "main", str(mirror))
    command = ["git", "-C", str(mirror), "fast-import", "--quiet"]
    subprocess.run(command, input="".join(_stream(files)).encode(), check=True)
    git(place, "clone", "--quiet", str(mirror), str(tree))
    return Project(tree=tree, mirror=mirror, commit=Commit(git(tree, "rev-parse", "HEAD").strip()))


def _stream(files: int) -> Iterator[str]:
    """Yield one commit for git-fast-import(1), which makes one pack of it in place of a file per object."""
    yield "commit refs/heads/main\ncommitter bench <bench@example.com> 0 +0000\ndata 5\nFirst\n"
    for number in range(files):
        content = f"# file {number}\n" + "value = 1\n" * 20
        yield f"M 100644 inline folder{number // 100}/file{number}.py\ndata {len(content)}\n{content}\n"


def git(folder: Path, *words: str) -> str:
    """Run git and return what it printed."""
    answer = subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True)
    return answer.stdout


class Bench:
    """Sandboxes of one project on the image `base`."""

    def __init__(self, backend: SandboxBackend, image: ImageDigest, project: Project) -> None:
        self.backend = backend
        self.project = project
        self._image = image

    @asynccontextmanager
    async def sandbox(self, snapshot: SnapshotKey | None = None) -> AsyncIterator[Sandbox]:
        """A sandbox, destroyed afterwards."""
        name = SandboxName(f"bench-{secrets.token_hex(4)}")
        try:
            yield await self.create(name, snapshot)
        finally:
            await self.backend.destroy(name)

    async def create(self, name: SandboxName, snapshot: SnapshotKey | None = None) -> Sandbox:
        """A sandbox that the caller destroys."""
        spec = SandboxSpec(
            image=self._image,
            snapshot=snapshot,
            directory=DIRECTORY,
            mirror=self.project.mirror,
            limits=Limits(memory_bytes=8 * GIB),
        )
        return await self.backend.create(name, spec)

    async def run(self, sandbox: Sandbox, *argv: str) -> str:
        """Run a program to its end and return what it printed. RuntimeError when it fails."""
        process = await start(sandbox, *argv)
        printed = b"".join([chunk.data async for chunk in process.output() if chunk.stream is Stream.STDOUT])
        ended = await process.wait()
        if ended.status != 0:
            raise RuntimeError(f"{argv} ended with {ended.status}")
        return printed.decode()


async def start(sandbox: Sandbox, *argv: str) -> Process:
    """Start a program in a new container."""
    return await sandbox.start(
        Command(id=secrets.token_hex(4), argv=argv, timeout_seconds=20 * MINUTE, output_bytes=2**20)
    )


@asynccontextmanager
async def open_bench(state: Path, project: Project) -> AsyncIterator[Bench]:
    """Open the backend on `state`, building the image `base` when it was never built."""
    images = OciImageStore(state)
    image = await images.ensure("base")
    async with open_backend(state, images) as backend:
        yield Bench(backend, image, project)
