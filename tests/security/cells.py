"""Sandboxes without tasks: a node of its own, and programs that run in it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from cloister.model.environment import Limits
from cloister.model.phase import Phase
from cloister.model.sandbox import Command, Exit, SandboxName, SandboxSpec, Stream
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci.backend import OciBackend, open_backend
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.process import OciProcess
from cloister.sandboxes.oci.sandbox import OciSandbox

PROBES = Path(__file__).with_name("probes")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "CLOISTER_PHASE": Phase.AGENT}


@dataclass(frozen=True)
class Printed:
    """How a program ended, and what it printed."""

    exit: Exit
    stdout: str
    stderr: str


@dataclass
class Cell:
    """One sandbox."""

    sandbox: OciSandbox
    started: int = 0

    async def run(self, *argv: str, files: Mapping[str, str] | None = None, **changes: Any) -> Printed:
        """Run a program in a new container to its end. `files` are found below /cloister/in."""
        self.started += 1
        command = Command(
            id=f"c{self.started}",
            argv=argv,
            **{"variables": ENVIRONMENT, "timeout_seconds": 60.0, "output_bytes": 10**7, **changes},
            files={name: text.encode() for name, text in (files or {}).items()},
        )
        process = await self.sandbox.start(command)
        text = {stream: bytearray() for stream in Stream}
        async for chunk in process.output():
            text[chunk.stream] += chunk.data
        ended = await process.wait()
        stdout, stderr = (text[stream].decode(errors="replace") for stream in (Stream.STDOUT, Stream.STDERR))
        return Printed(ended, stdout, stderr)

    async def start(self, script: str, **changes: Any) -> OciProcess:
        """Start a shell script, and return when it has printed something."""
        self.started += 1
        limits = {"timeout_seconds": 60.0, "output_bytes": 10**7, "variables": ENVIRONMENT}
        command = Command(id=f"c{self.started}", argv=("/bin/bash", "-c", script), **{**limits, **changes})
        process = await self.sandbox.start(command)
        async with aclosing(process.output()) as output:
            async for _ in output:
                break
        return process

    async def sh(self, script: str, **changes: Any) -> Printed:
        """Run a shell script."""
        return await self.run("/bin/bash", "-c", script, **changes)

    async def probe(
        self, name: str, *arguments: str, files: Mapping[str, str] | None = None, **changes: Any
    ) -> Printed:
        """Run one of the folder `probes`. `files` are found below /cloister/in, beside it."""
        together = {name: (PROBES / name).read_text(), **(files or {})}
        return await self.run("/usr/bin/python3", f"/cloister/in/{name}", *arguments, files=together, **changes)


@dataclass
class Block:
    """A node whose sandboxes are named `<prefix>-1`, `<prefix>-2`, ..."""

    state: Path
    backend: OciBackend
    image: str
    mirror: Path
    prefix: str
    made: int = 0
    limits: Limits = field(default_factory=lambda: Limits(memory_bytes=512 * 1024**2, pids=256))

    async def cell(self, *, snapshot: str | None = None, limits: Limits | None = None) -> Cell:
        """Make one more sandbox."""
        self.made += 1
        spec = SandboxSpec(
            image=self.image,
            snapshot=SnapshotKey(snapshot) if snapshot else None,
            directory="project",
            mirror=self.mirror,
            limits=limits or self.limits,
        )
        return Cell(await self.backend.create(SandboxName(f"{self.prefix}-{self.made}"), spec))

    async def clear(self) -> None:
        """Destroy them all."""
        for name in await self.backend.list():
            await self.backend.destroy(name)


@asynccontextmanager
async def opened_block(
    place: Path, images: OciImageStore, *, prefix: str, runtime: str = "auto", authority: str = ""
) -> AsyncIterator[Block]:
    """Open a node with its state in `place`; `authority` is what its sandboxes trust besides."""
    mirror = place / "mirror.git"
    await anyio.run_process(["git", "init", "--quiet", "--bare", str(mirror)])
    async with open_backend(place / "state", images, runtime=runtime, authorities=authority) as backend:
        block = Block(place / "state", backend, await images.ensure("base"), mirror, prefix)
        try:
            yield block
        finally:
            await block.clear()
