"""Sandboxes that run nothing: programs are scripted, and a call that the protocol forbids is an AssertionError."""

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

import anyio
import anyio.lowlevel

from cloister.errors import ConflictError, NotFoundError, SandboxError
from cloister.model.artifact import FoundFile
from cloister.model.asker import Asker, Connection
from cloister.model.instructions import PLACES, Restored
from cloister.model.residue import Residue
from cloister.model.sandbox import (
    WORKSPACE,
    Change,
    Checkout,
    Command,
    Commit,
    SandboxName,
    SandboxSpec,
    are_of_one_task,
)
from cloister.model.secret import SecretValue
from cloister.model.snapshot import CheckedDisk, SnapshotKey
from cloister.protocols import EnteredShell, Listeners, Process, Sandbox, SandboxBackend, Terminal
from cloister.sandboxes.fake_node import Disk, FakeNode
from cloister.sandboxes.fake_process import FakeEnteredShell, FakeProcess, FakeTerminal
from cloister.sandboxes.fake_program import Append, Hold, Print, Program, Run

__all__ = ["Append", "FakeBackend", "FakeNode", "FakeSandbox", "Hold", "OnCall", "Print", "Program", "tell"]

OnCall = Callable[[str, str], Awaitable[None]]
"""Told of each call before it takes effect, as (sandbox, call). What it raises, the call raises."""


class FakeBackend:
    """Sandboxes on a `FakeNode`."""

    def __init__(self, node: FakeNode, *, on_call: OnCall | None = None) -> None:
        self._node = node
        self._on_call = on_call

    @property
    def runtime(self) -> str:
        """See `protocols.SandboxBackend`."""
        return "fake 1"

    @property
    def not_enforced(self) -> Sequence[str]:
        """See `protocols.SandboxBackend`."""
        return ("limits.cpu",)

    def expect(self) -> None:
        """Nothing is slow here; see `protocols.SandboxBackend`."""

    async def create(self, name: SandboxName, spec: SandboxSpec) -> "FakeSandbox":
        """See `protocols.SandboxBackend`."""
        start = "beside another" if spec.beside else "from a snapshot" if spec.snapshot else "from the image"
        await tell(self._on_call, name, f"create {start}")
        if name not in self._node.disks and spec.beside is not None:
            if spec.beside not in self._node.disks:
                raise NotFoundError(f"sandbox {spec.beside} is not on this node")
            other = self._node.disks[spec.beside]
            assert other.checkout is not None, f"{name} beside {spec.beside}, which has no work tree"
            self._node.disks[name] = Disk(spec=spec, stands_on=other.stands_on)
        if name not in self._node.disks:
            if spec.image not in self._node.images:
                raise NotFoundError(f"image {spec.image} is not on this node")
            if spec.snapshot is not None and not await self.has_snapshot(spec.snapshot):
                raise NotFoundError(f"snapshot {spec.snapshot} is not on this node")
            disk = Disk(spec=spec, stands_on=spec.snapshot)
            if spec.snapshot in self._node.final:
                owner, disk.checkout, image = self._node.final[spec.snapshot]
                if not are_of_one_task(owner, name):
                    raise SandboxError(f"{name} cannot start from the disk of {owner}, which is another task's")
                if image != spec.image:
                    raise NotFoundError(f"the disk of {owner} stands on another image")
            self._node.disks[name] = disk
        return FakeSandbox(self._node, name, self._node.disks[name], self._on_call)

    async def destroy(self, name: SandboxName) -> None:
        """See `protocols.SandboxBackend`."""
        await tell(self._on_call, name, "destroy")
        disk = self._node.disks.pop(name, None)
        for run in disk.runs.values() if disk else ():
            run.stop()

    async def list(self) -> Sequence[SandboxName]:
        """See `protocols.SandboxBackend`."""
        return sorted(self._node.disks)

    async def open_terminal(self, name: SandboxName, command: str) -> "FakeTerminal":
        """See `protocols.SandboxBackend`."""
        await tell(self._on_call, name, f"open the terminal of {command}")
        run = self._node.disks[name].runs.get(command) if name in self._node.disks else None
        if run is None or run.ended is not None or not run.command.terminal:
            raise NotFoundError(f"{command!r} does not run, so it has no terminal")
        if run.terminal_given:
            raise ConflictError(f"the terminal of {command!r} was given to somebody already")
        run.terminal_given = True
        return FakeTerminal(run)

    async def enter(self, name: SandboxName, *, terminal: str) -> "FakeEnteredShell":
        """See `protocols.SandboxBackend`. The shell shows what is typed, and ends at once when that is `exit`."""
        await tell(self._on_call, name, "enter")
        runs = self._node.disks[name].runs.values() if name in self._node.disks else ()
        enterable = [run for run in runs if run.ended is None and run.command.shell and not run.command.secrets]
        if not enterable:
            raise NotFoundError("no agent runs there now")
        enterable[0].entered += 1
        return FakeEnteredShell(enterable[0].entered)

    async def has_snapshot(self, key: SnapshotKey) -> bool:
        """See `protocols.SandboxBackend`."""
        return await self.flaw_of_snapshot(key) is None

    async def flaw_of_snapshot(self, key: SnapshotKey) -> str | None:
        """See `protocols.SandboxBackend`."""
        return self._node.flaws.get(key) if key in self._node.snapshots else "its disk is gone"

    async def snapshots(self) -> Sequence[SnapshotKey]:
        """See `protocols.SandboxBackend`."""
        return sorted(self._node.snapshots)

    async def size_of_snapshot(self, key: SnapshotKey) -> int | None:
        """See `protocols.SandboxBackend`."""
        return self._node.sizes.get(key) if key in self._node.snapshots else None

    async def digest_of_snapshot(self, key: SnapshotKey) -> str | None:
        """See `protocols.SandboxBackend`."""
        return self._node.digests.get(key) if key in self._node.snapshots else None

    async def check_snapshot(self, key: SnapshotKey) -> Sequence[CheckedDisk]:
        """See `protocols.SandboxBackend`. One that has a flaw was changed."""
        if key not in self._node.snapshots:
            raise NotFoundError(f"the snapshot {key} is not here")
        kept = self._node.digests.get(key)
        found = "0" * 64 if key in self._node.flaws or kept is None else kept
        return [CheckedDisk(key=key, kept=kept, found=found)]

    async def remove_snapshot(self, key: SnapshotKey) -> None:
        """See `protocols.SandboxBackend`."""
        await tell(self._on_call, "", "remove a snapshot")
        if self._node.is_in_use(key):
            raise ConflictError(f"a sandbox stands on snapshot {key}")
        self._node.snapshots.discard(key)
        self._node.flaws.pop(key, None)
        self._node.sizes.pop(key, None)
        self._node.digests.pop(key, None)
        self._node.below.pop(key, None)
        self._node.final.pop(key, None)

    async def claim_build(self, key: SnapshotKey, *, wait: bool) -> AbstractContextManager[None] | None:
        """See `protocols.SandboxBackend`."""
        await anyio.lowlevel.checkpoint()
        while (released := self._node.claims.get(key)) is not None:
            if not wait:
                return None
            await released.wait()
        self._node.claims[key] = anyio.Event()
        return self._claimed(key)

    @contextmanager
    def _claimed(self, key: SnapshotKey) -> Iterator[None]:
        try:
            yield
        finally:
            self._node.claims.pop(key).set()


class FakeSandbox:
    """A scripted sandbox; made by `FakeBackend`."""

    def __init__(self, node: FakeNode, name: SandboxName, disk: Disk, on_call: OnCall | None) -> None:
        self._node = node
        self._name = name
        self._disk = disk
        self._on_call = on_call

    @property
    def stands_on(self) -> SnapshotKey | None:
        """See `protocols.Sandbox`."""
        return self._disk.stands_on

    @property
    def catches(self) -> bool:
        """See `protocols.Sandbox`."""
        return self._node.catches

    async def checkout(self, checkout: Checkout) -> None:
        """See `protocols.Sandbox`."""
        with_patch = " with a patch" if checkout.patch else ""
        await self._tell(f"checkout {checkout.branch} at {checkout.commit}{with_patch}")
        self._refuse_after_agents()
        self._expect_no_container("checkout")
        self._disk.checkout = checkout
        self._disk.sealed.update(self._disk.runs)
        self._disk.clean = not checkout.patch

    async def start(self, command: Command) -> "FakeProcess":
        """See `protocols.Sandbox`."""
        run = self._disk.runs.get(command.id)
        await self._tell(f"attach to {command.id}" if run else f"start {command.id}")
        if run is None:
            run = self._disk.runs[command.id] = self._new_run(command)
            self._disk.clean = False
            self._node.commands.append(command)
        return FakeProcess(run)

    def has_started(self, command: str) -> bool:
        """See `protocols.Sandbox`."""
        self._expect_to_exist("has_started")
        return command in self._disk.runs

    async def find_residue(self, values: Mapping[str, SecretValue]) -> Sequence[Residue]:
        """See `protocols.Sandbox`. Finds values as they are, and in no other form."""
        await self._tell("find residue")
        self._expect_no_container("find_residue")
        return self._residue(values)

    async def scrub(self, values: Mapping[str, SecretValue], found: Sequence[Residue]) -> Sequence[Residue]:
        """See `protocols.Sandbox`."""
        await self._tell("scrub")
        self._expect_no_container("scrub")
        assert found, "there is nothing to scrub"
        written = self._written()
        self._disk.scrubbed |= {it.path for it in found if not written[it.path].startswith(b"\0")}
        return self._residue(values)

    async def restore_instructions(self) -> Sequence[Restored]:
        """See `protocols.Sandbox`. Knows only what is outside of the work tree."""
        await self._tell("restore instructions")
        self._expect_no_container("restore_instructions")
        changed = [path for path in self._written() if path.lstrip("/") in PLACES]
        self._disk.scrubbed.update(changed)
        return [Restored(path=path) for path in changed]

    def _written(self) -> Mapping[str, bytes]:
        """Files that were written since the last checkout."""
        runs = (run for name, run in self._disk.runs.items() if name not in self._disk.sealed)
        written = {path: data for run in runs for path, data in run.written.items()}
        return {path: data for path, data in sorted(written.items()) if path not in self._disk.scrubbed}

    def _residue(self, values: Mapping[str, SecretValue]) -> Sequence[Residue]:
        held = {
            path: tuple(sorted(name for name, value in values.items() if value.reveal().encode() in data))
            for path, data in self._written().items()
        }
        return [Residue(path=path, names=names) for path, names in held.items() if names]

    async def changes(self, base: Commit) -> Change:
        """See `protocols.Sandbox`."""
        await self._tell("changes")
        self._expect_no_container("changes")
        assert self._disk.checkout is not None, "changes before a checkout"
        diff = self._node.diff
        commit = Commit(hashlib.sha1(diff, usedforsecurity=False).hexdigest()) if diff else base
        return Change(base=base, commit=commit, repository=self._disk.spec.mirror, diff=diff, stats=self._node.stats)

    async def make_shareable(self) -> None:
        """See `protocols.Sandbox`. There is nothing of the kind here."""
        await self._tell("make shareable")
        self._expect_no_container("make_shareable")

    async def left_behind(self, change: Change) -> Sequence[str]:
        """See `protocols.Sandbox`. What programs wrote, none of which is ever in a change."""
        await self._tell("look at what was left behind")
        self._expect_no_container("left_behind")
        return sorted(self._written())

    def listeners(self, doors: Collection[int] = ()) -> Listeners:
        """Descriptors that can be closed, which is all that a fake egress does with them."""
        self._expect_to_exist("listeners")
        return Listeners(proxy=_two_descriptors(), doors={port: _two_descriptors() for port in doors})

    async def owner_of(self, connection: Connection) -> Asker | None:
        """Nobody: nothing runs here."""
        return None

    async def snapshot(self, key: SnapshotKey) -> bool:
        """See `protocols.Sandbox`."""
        await self._tell("snapshot")
        self._expect_no_container("snapshot")
        self._refuse_after_agents()
        if key in self._node.snapshots and (key not in self._node.flaws or self._node.is_in_use(key)):
            return False
        if not self._disk.clean:
            raise SandboxError(f"{self._name} cannot be kept: its work tree is not clean")
        if self._disk.stands_on is not None:
            self._node.below[key] = self._disk.stands_on
        self._node.snapshots.add(key)
        self._node.flaws.pop(key, None)
        self._disk.stands_on = key
        return True

    async def keep_final_disk(self, key: SnapshotKey) -> SnapshotKey | None:
        """See `protocols.Sandbox`."""
        await self._tell("keep the final disk")
        self._expect_no_container("keep_final_disk")
        if self._disk.checkout is None:
            raise SandboxError(f"{self._name} has no work tree")
        below = self._disk.stands_on
        if below in self._node.final:
            below = self._node.below.get(below)
        self._node.snapshots.add(key)
        self._node.final[key] = (self._name, self._disk.checkout, self._disk.spec.image)
        if below is not None:
            self._node.below[key] = below
        return below

    def _refuse_after_agents(self) -> None:
        if self._disk.stands_on in self._node.final and self._disk.spec.beside is None:
            raise SandboxError(f"{self._name} stands on what an agent wrote")

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """See `protocols.Sandbox`."""
        await self._tell(f"read {path}")
        assert path.startswith("/cloister/out/"), f"read_file of {path!r}, which is not below /cloister/out"
        left = {name: data for run in self._disk.runs.values() for name, data in run.left.items()}
        return left[path][:limit_bytes] if path in left else None

    async def list_files(self, folder: str, *, most: int) -> Sequence[FoundFile]:
        """See `protocols.Sandbox`."""
        assert folder.startswith("/cloister/out/"), f"list_files of {folder!r}, which is not below /cloister/out"
        self._expect_no_container("list_files")
        left = {name: data for run in self._disk.runs.values() for name, data in run.left.items()}
        below = {name.removeprefix(f"{folder}/"): data for name, data in left.items() if name.startswith(f"{folder}/")}
        return [FoundFile(path=name, size_bytes=len(below[name]), is_regular=True) for name in sorted(below)][:most]

    async def tail(self, path: str, over: anyio.Event, *, limit_bytes: int) -> AsyncIterator[bytes]:
        """See `protocols.Sandbox`."""
        assert path.startswith("/cloister/out/"), f"tail of {path!r}, which is not below /cloister/out"
        offset = 0
        while True:
            last = over.is_set()
            data = b"".join(run.appended(path) for run in self._disk.runs.values())[offset:limit_bytes]
            if data:
                offset += len(data)
                yield data
            if last:
                return
            going = [run for run in self._disk.runs.values() if run.ended is None]
            await (going[0].moved() if going else over.wait())

    def _new_run(self, command: Command) -> Run:
        assert command.id in self._node.programs, f"no program is scripted for command {command.id!r}"
        assert command.argv, f"command {command.id!r} has no program"
        assert command.timeout_seconds > 0, f"command {command.id!r} has no time left"
        assert command.output_bytes > 0, f"command {command.id!r} may print nothing"
        assert not (command.terminal and command.stdin), f"{command.id!r} reads its terminal, not what it is given"
        in_work_tree = command.cwd.startswith(f"{WORKSPACE}/")
        assert self._disk.checkout or not in_work_tree, f"{command.id!r} starts in a work tree before a checkout"
        return Run(command, self._node.programs[command.id])

    async def _tell(self, call: str) -> None:
        await tell(self._on_call, self._name, call)
        self._expect_to_exist(call)

    def _expect_to_exist(self, call: str) -> None:
        assert self._node.disks.get(self._name) is self._disk, f"{call}: sandbox {self._name} was destroyed"

    def _expect_no_container(self, call: str) -> None:
        running = [name for name, run in self._disk.runs.items() if not run.known_to_be_over]
        assert not running, f"{call} while {', '.join(running)} may still run: nobody waited for its end"


async def tell(on_call: OnCall | None, sandbox: str, call: str) -> None:
    """Let others run, as a real call would, and say what is called."""
    await anyio.lowlevel.checkpoint()
    if on_call is not None:
        await on_call(sandbox, call)


def _conforms(
    backend: FakeBackend,
    sandbox: FakeSandbox,
    process: FakeProcess,
    terminal: FakeTerminal,
    entered: FakeEnteredShell,
) -> tuple[SandboxBackend, Sandbox, Process, Terminal, EnteredShell]:
    return backend, sandbox, process, terminal, entered


def _two_descriptors() -> tuple[int, int]:
    first, second = (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC) for _ in range(2))
    return first, second
