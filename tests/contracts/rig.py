"""A sandbox backend, scripted or real, behind the same few words."""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cloister.model.environment import Limits
from cloister.model.sandbox import Checkout, Command, Commit, DiffStats, Exit, ImageDigest, SandboxName, SandboxSpec
from cloister.model.snapshot import SnapshotKey
from cloister.protocols import Process, Sandbox, SandboxBackend
from cloister.sandboxes.fake import Append, FakeNode, Hold, Print, Program

MIB = 1024 * 1024

Opener = Callable[[], AbstractAsyncContextManager[SandboxBackend]]


@dataclass(frozen=True, kw_only=True)
class Script:
    """A shell script, and what the scripted backend is told of it."""

    text: str
    does: Sequence[Print | Append | Hold] = ()
    ends: Exit = field(default_factory=lambda: Exit(status=0))
    leaves: dict[str, bytes] = field(default_factory=dict)
    writes: dict[str, bytes] = field(default_factory=dict)


@dataclass(kw_only=True)
class Rig:
    """A backend, and a repository whose branch `main` has the files README (one line) and run (executable)."""

    backend: SandboxBackend
    image: ImageDigest
    mirror: Path
    main: Commit
    fake: FakeNode | None = None
    faults: dict[str, Exception] = field(default_factory=dict)
    """By call, of the scripted backend: it knows no commits and applies no patches."""
    _opener: Opener
    _stack: AsyncExitStack

    @classmethod
    @asynccontextmanager
    async def opened(cls, opener: Opener, image: ImageDigest, repository: tuple[Path, Commit]) -> AsyncIterator[Self]:
        """Afterwards nothing is left of its sandboxes."""
        stack = AsyncExitStack()
        backend = await stack.enter_async_context(opener())
        mirror, main = repository
        rig = cls(backend=backend, image=image, mirror=mirror, main=main, _opener=opener, _stack=stack)
        try:
            yield rig
        finally:
            for name in await rig.backend.list():
                await rig.backend.destroy(name)
            await rig._stack.aclose()

    async def close(self) -> None:
        """Let the worker's backend go: nobody serves the node."""
        await self._stack.aclose()

    async def reopen(self) -> None:
        """Let the next worker's backend take over the node."""
        await self.close()
        self.backend = await self._stack.enter_async_context(self._opener())

    async def create(
        self,
        name: str = "one",
        *,
        snapshot: SnapshotKey | None = None,
        limits: Limits | None = None,
        beside: str | None = None,
    ) -> Sandbox:
        spec = SandboxSpec(
            image=self.image,
            snapshot=snapshot,
            directory="shop",
            mirror=self.mirror,
            limits=limits or Limits(),
            beside=self.name(beside) if beside is not None else None,
        )
        return await self.backend.create(self.name(name), spec)

    def name(self, text: str = "one") -> SandboxName:
        """A name that no other run of the tests on this machine uses: it names control groups too."""
        return SandboxName(f"contract{os.getpid()}-{text}")

    async def start(self, sandbox: Sandbox, script: Script, *, id: str = "agent", **fields: object) -> Process:
        if self.fake is not None:
            self.fake.programs[id] = Program(
                steps=script.does, ends=script.ends, leaves=script.leaves, writes=script.writes
            )
        given = {"timeout_seconds": 10.0, "output_bytes": MIB, "argv": ("/bin/bash", "-c", script.text), **fields}
        return await sandbox.start(Command(id=id, **given))  # type: ignore[arg-type]

    async def run(
        self, sandbox: Sandbox, script: Script, *, id: str = "agent", **fields: object
    ) -> tuple[Exit, bytes, bytes]:
        """Return how it ended, its standard output and its standard error."""
        process = await self.start(sandbox, script, id=id, **fields)
        chunks = [chunk async for chunk in process.output()]
        streams = [b"".join(c.data for c in chunks if c.stream == name) for name in ("stdout", "stderr")]
        return await process.wait(), streams[0], streams[1]

    def will_change(self, diff: bytes, stats: DiffStats) -> None:
        """Tell the scripted backend what the next `changes` finds."""
        if self.fake is not None:
            self.fake.diff, self.fake.stats = diff, stats

    def checkout(self, *, branch: str = "cloister/t1", patch: bytes = b"") -> Checkout:
        origin = "https://example.com/shop.git"
        return Checkout(commit=self.main, branch=branch, origin=origin, patch=patch)

    async def release(self, sandbox: Sandbox, name: str = "one", *, id: str = "agent") -> None:
        """Let a script go on that waits until /root/go is there, as `WAIT` does."""
        if self.fake is not None:
            self.fake.release(self.name(name), id)
        else:
            await self.run(sandbox, Script(text="touch /root/go"), id="release")
