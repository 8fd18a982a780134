"""One attempt's sandbox: its disk mounted, its namespace, and the containers that run on it."""

import os
import shutil
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import anyio
from anyio import CapacityLimiter, to_thread

from cloister.errors import RepositoryError, SandboxError, TaskFailedError
from cloister.model.artifact import FoundFile
from cloister.model.asker import Asker, Connection
from cloister.model.flag import MOST_OF_A_KIND, Flag, FlagKind
from cloister.model.given import GIVEN
from cloister.model.instructions import Restored
from cloister.model.pack import PACKS
from cloister.model.residue import Residue
from cloister.model.sandbox import WORKSPACE, Change, Checkout, Command, Commit, SandboxName, SandboxSpec
from cloister.model.secret import SecretValue
from cloister.model.snapshot import SnapshotKey
from cloister.protocols import Listeners
from cloister.sandboxes.oci import guard, syscalls
from cloister.sandboxes.oci.beneath import list_beneath, read_beneath, tail_beneath
from cloister.sandboxes.oci.bundle import UID_BASE, Bind, Bundle
from cloister.sandboxes.oci.disk import Disk, DiskState, layers_of
from cloister.sandboxes.oci.final_disk import FinalDisk
from cloister.sandboxes.oci.flatten import begin_to_flatten
from cloister.sandboxes.oci.instructions import LARGEST_READ_BYTES, find_instructions, find_leading
from cloister.sandboxes.oci.left_behind import list_left_behind
from cloister.sandboxes.oci.listening import Listening
from cloister.sandboxes.oci.node import Node, add_volume
from cloister.sandboxes.oci.overlay import mount_overlay
from cloister.sandboxes.oci.owner import find_owner
from cloister.sandboxes.oci.process import OciProcess
from cloister.sandboxes.oci.searcher import search_disk
from cloister.sandboxes.oci.tidy import tidy_layer
from cloister.sandboxes.oci.toolbox import run_tool
from cloister.sandboxes.oci.volume import check_writes, told_when_full
from cloister.sandboxes.oci.worktree.branch import write_branch
from cloister.sandboxes.oci.worktree.change import import_change
from cloister.sandboxes.oci.worktree.written import list_written, write_list

MOST_LAYERS = 8
"""Of a kept disk, with those below it and without the image; past that they are merged."""
_MOST_LOOKUPS = 4
_NO_PART = "what was written in it is no part of the change"


class OciSandbox:
    """`protocols.Sandbox` over a `Disk`, mounted at `root`, and a network namespace."""

    def __init__(self, node: Node, name: SandboxName, spec: SandboxSpec, disk: Disk, listening: Listening) -> None:
        self.name = name
        self._node = node
        self._spec = spec
        self._disk = disk
        self._listening = listening
        self._lookups = CapacityLimiter(_MOST_LOOKUPS)
        self._place = node.paths.sandbox(name)
        self._final = FinalDisk(node, disk)

    @property
    def stands_on(self) -> SnapshotKey | None:
        """The saved disk below; see `protocols.Sandbox`."""
        key = self._disk.state.snapshot
        return SnapshotKey(key) if key is not None else None

    @property
    def _beside(self) -> Disk | None:
        name = self._disk.state.beside
        return Disk(self._node.paths.disk(SandboxName(name)), self._disk.state) if name is not None else None

    @property
    def catches(self) -> bool:
        """Whether there are listeners for it; see `protocols.Sandbox`."""
        return self._listening.catches

    @property
    def root(self) -> Path:
        """Where the disk is mounted on the host."""
        return self._place / "root"

    def mount(self) -> None:
        """Make the disk visible at `root`, with the guard as its topmost lower layer."""
        with told_when_full(self._disk.volume):
            try:
                self._mount()
            except FileNotFoundError:  # the layers of a snapshot below were copied out of its volume just now
                self._mount()

    def _mount(self) -> None:
        state = self._disk.state
        beside = layers_of(self._beside.kept, state.layers_beside) if self._beside is not None else []
        below = self._node.snapshots.layers(SnapshotKey(state.snapshot))[state.left_out :] if state.snapshot else []
        mount_overlay(
            self.root,
            lowers=[
                self._node.guard.layer,
                *self._disk.sealed,
                *beside,
                *below,
                self._node.images.rootfs(self._spec.image),
            ],
            upper=self._disk.upper,
            work=self._disk.new_work(),
        )

    def unmount(self) -> None:
        """Take `root` away. Harmless twice."""
        syscalls.unmount_all(str(self.root))

    def close_listeners(self) -> None:
        """Close our own descriptors of the listening sockets."""
        self._listening.close()

    def listeners(self, doors: Collection[int] = ()) -> Listeners:
        """Return duplicates; see `protocols.Sandbox`."""
        return self._listening.duplicates(doors)

    async def owner_of(self, connection: Connection) -> Asker | None:
        """Look in the namespace and among our processes; see `protocols.Sandbox`."""
        try:
            return await to_thread.run_sync(
                find_owner, self.name, self._place / "netns", connection, limiter=self._lookups, abandon_on_cancel=True
            )
        except (OSError, SandboxError):
            return None  # the sandbox is being destroyed, or the kernel cannot be asked

    async def checkout(self, checkout: Checkout) -> None:
        """Put the work tree into this state; see `protocols.Sandbox`."""
        self._refuse_after_agents("put its work tree anew")
        with told_when_full(self._disk.volume):
            self._seal_what_was_written()
            if self._disk.has_tmp():
                self._node.trash.throw(self._disk.tmp, graves=self._disk.graves)
        state = self._disk.state
        if state.clean and state.commit == checkout.commit:
            write_branch(self._disk.upper, self._spec.directory, checkout.branch, checkout.commit, UID_BASE)
        else:
            await self._put_work_tree(replace(checkout, patch=b""))
            self._seal_what_was_written()  # or every file of it would be looked at for the change
        if checkout.patch:  # git would write every file anew of a work tree that another sandbox had: only the patch
            self._disk.remember(replace(self._disk.state, clean=False))
            await self._put_work_tree(checkout, put=False)

    async def start(self, command: Command) -> OciProcess:
        """Start or attach; see `protocols.Sandbox`."""
        directory = self._place / "processes" / command.id
        if found := self._node.containers.find(directory):
            return found
        guard.check_mount_points(self._disk.upper)
        with told_when_full(self._disk.volume):
            tmp = self._disk.new_tmp(command.id, owner=UID_BASE)
        self._final.forget_merged()
        if self._disk.state.clean:
            self._disk.remember(replace(self._disk.state, clean=False))
        bundle = Bundle(
            container=f"{self.name}.{command.id}",
            argv=command.argv,
            environment={**command.variables, **{name: value.reveal() for name, value in command.secrets.items()}},
            cwd=command.cwd,
            root=self.root,
            network=self._place / "netns",
            init=self._node.init,
            sysfs=self._node.guard.sysfs,
            binds=(
                Bind(source=tmp, target="/tmp", writable=True),
                Bind(source=self._spec.mirror, target=guard.MIRROR),
                Bind(source=directory / "files", target=guard.INPUT),
                *((Bind(source=command.packs, target=PACKS, executable=True),) if command.packs else ()),
                *self._binds_of(command),
            ),
            limits=self._spec.limits,
            terminal=command.terminal,
            shell=() if command.secrets else command.shell,
        )
        return await self._node.containers.start(
            directory,
            bundle,
            stdin=command.stdin,
            files=command.files,
            timeout_seconds=command.timeout_seconds,
            stuck_seconds=command.stuck_seconds,
            output_bytes=command.output_bytes,
            listeners=self._listening.descriptors(),
            volume=self._disk.volume if self._disk.has_volume and not command.terminal else None,
        )

    def _binds_of(self, command: Command) -> Iterator[Bind]:
        if command.given is not None:
            yield Bind(source=command.given, target=GIVEN)
        if command.read_only_work_tree:  # over the disk's own, which is no mount that anybody inside could get at
            yield Bind(source=self.root / WORKSPACE.lstrip("/"), target=WORKSPACE, executable=True)

    def has_started(self, command: str) -> bool:
        """Whether it runs or ran; see `protocols.Sandbox`."""
        return self._node.containers.find(self._place / "processes" / command) is not None

    async def find_residue(self, values: Mapping[str, SecretValue]) -> Sequence[Residue]:
        """Search the layer that is written to; see `protocols.Sandbox`."""
        return await search_disk(self._disk.upper, values)

    async def scrub(self, values: Mapping[str, SecretValue], found: Sequence[Residue]) -> Sequence[Residue]:
        """Change files below the mount, which is gone meanwhile; see `protocols.Sandbox`."""
        self.unmount()
        try:
            return await search_disk(self._disk.upper, values, scrub=sorted({residue.path for residue in found}))
        finally:
            self.mount()

    async def changes(self, base: Commit) -> Change:
        """Collect what was changed; see `protocols.Sandbox`."""
        exchange = self._new_exchange()
        try:
            layer = await self._final.all_written()
        except SandboxError as error:
            raise TaskFailedError(
                f"what this turn and those before it wrote cannot be put together: {error}"
            ) from error
        written = await to_thread.run_sync(list_written, layer, self._spec.directory)
        write_list(exchange / "written", written)
        answer = await self._run_tool(
            "collect", {"directory": self._spec.directory, "base": base}, exchange, writable=False
        )
        check_writes(self.root)
        if refused := answer.get("refused"):
            raise TaskFailedError(refused)
        change = await import_change(
            self._node.paths.results / self._spec.mirror.name,
            mirror=self._spec.mirror,
            base=base,
            commit=Commit(answer["commit"]),
            pack=exchange / "change.pack",
            name=self.name,
        )
        inside = [Flag(kind=FlagKind.SUBMODULE, path=path, detail=_NO_PART) for path in answer.get("inside", ())]
        return replace(change, flags=(*change.flags, *inside[:MOST_OF_A_KIND]))

    async def make_shareable(self) -> None:
        """Change files below the mount, which is gone meanwhile; see `protocols.Sandbox`."""
        self.unmount()
        try:
            await to_thread.run_sync(tidy_layer, self._disk.upper)
        finally:
            self.mount()

    async def left_behind(self, change: Change) -> Sequence[str]:
        """Look at the layer that was written to; see `protocols.Sandbox`."""
        layer, changed = await self._final.all_written(), frozenset(change.paths)
        return await to_thread.run_sync(list_left_behind, layer, self._spec.directory, changed)

    async def snapshot(self, key: SnapshotKey) -> bool:
        """Keep the disk under `key`; see `protocols.Sandbox`."""
        self._refuse_after_agents("be kept for others")
        state = self._disk.state
        if self._node.snapshots.find(key) is not None:
            return False
        if state.commit is None or not state.clean:
            raise SandboxError(f"{self.name} cannot be kept: its work tree is not clean")
        self._prepare_git()
        self._seal_what_was_written()
        if not self._node.snapshots.keep(key, self._disk, state.commit):
            return False
        self._disk.remember(DiskState(image=state.image, snapshot=key, commit=state.commit, clean=True))
        if not self._disk.upper.exists():  # it lay in the volume, which was kept with what is in it
            self.unmount()
            await to_thread.run_sync(add_volume, self._node, self._disk.kept, self._spec.limits)
            self._disk.renew(owner=UID_BASE)
            self.mount()
        if len(self._node.snapshots.layers(key)) > MOST_LAYERS:
            begin_to_flatten(self._node.paths.state, key, self._node.images.rootfs(self._spec.image))
        return True

    async def keep_final_disk(self, key: SnapshotKey) -> SnapshotKey | None:
        """Make a disk of its own of what was written; see `protocols.Sandbox`."""
        if self._disk.state.commit is None:
            raise SandboxError(f"{self.name} has no work tree")
        self._prepare_git()
        made = await self._final.make()
        self._node.snapshots.remove(key)  # of a worker that was killed: what it kept is not what was done since
        self._node.snapshots.keep(key, made, self._disk.state.commit, attempt=self.name)
        return SnapshotKey(made.state.snapshot) if made.state.snapshot is not None else None

    def _refuse_after_agents(self, what: str) -> None:
        if self._final.former is not None and not self._disk.state.left_out:
            raise SandboxError(f"{self.name} cannot {what}: it stands on what an agent wrote")

    async def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """Read a file that the sandbox wrote; see `protocols.Sandbox`."""
        return read_beneath(self._disk.upper, path, limit_bytes=limit_bytes)

    async def list_files(self, folder: str, *, most: int) -> Sequence[FoundFile]:
        """List what the sandbox wrote; see `protocols.Sandbox`."""
        return await to_thread.run_sync(partial(list_beneath, self._disk.upper, folder, most=most))

    def tail(self, path: str, over: anyio.Event, *, limit_bytes: int) -> AsyncIterator[bytes]:
        """Look for more a few times a second; see `protocols.Sandbox`."""
        return tail_beneath(self._disk.upper, path, over, limit_bytes=limit_bytes)

    async def restore_instructions(self) -> Sequence[Restored]:
        """Take out of the layer what hides the layers below; see `protocols.Sandbox`."""
        undone = await to_thread.run_sync(find_instructions, self._disk.upper, self._spec.directory)
        leading = await to_thread.run_sync(find_leading, self._disk.upper)
        if not undone:
            return leading
        self.unmount()
        with told_when_full(self._disk.volume):
            for change in undone:
                self._node.trash.throw_beneath(self._disk.upper, change.path, graves=self._disk.graves)
        self.mount()
        return [
            *(
                change.restored(read_beneath(self.root, change.path, limit_bytes=LARGEST_READ_BYTES))
                for change in undone
            ),
            *leading,
        ]

    def _seal_what_was_written(self) -> None:
        if not self._disk.is_empty():
            check_writes(self.root)
            self.unmount()
            with told_when_full(self._disk.volume):
                self._disk.seal(owner=UID_BASE)
            self.mount()

    async def _put_work_tree(self, checkout: Checkout, *, put: bool = True) -> None:
        self._prepare_git()
        exchange = self._new_exchange()
        (exchange / "patch").write_bytes(checkout.patch)
        request = {
            "directory": self._spec.directory,
            "commit": checkout.commit,
            "branch": checkout.branch,
            "origin": checkout.origin,
            "put": put,
            "patch": bool(checkout.patch),
        }
        git = Bind(source=self._disk.git, target=guard.TOOL_GIT, writable=True)
        answer = await self._run_tool("checkout", request, exchange, git, writable=True)
        if answer["missing"]:
            raise RepositoryError(f"commit {checkout.commit} is not in the mirror {self._spec.mirror.name}")
        if refused := answer["refused"]:
            raise TaskFailedError(refused)
        self._disk.remember(replace(self._disk.state, commit=checkout.commit, clean=not checkout.patch))

    def _prepare_git(self) -> None:
        """Give the disk a git directory of its own: that of its snapshot, where there is one."""
        git, snapshot = self._disk.git, self._disk.state.snapshot
        if (git / "HEAD").exists():
            return
        shutil.rmtree(git, ignore_errors=True)
        former = self._node.snapshots.git(SnapshotKey(snapshot)) if snapshot is not None else None
        if self._beside is not None and (self._beside.git / "HEAD").exists():
            former = self._beside.git
        if former is not None:
            shutil.copytree(former, git, symlinks=True)
        else:
            git.mkdir(parents=True)
        git.chmod(0o700)
        for path, _, names in os.walk(git):
            for name in (".", *names):
                os.lchown(Path(path) / name, UID_BASE, UID_BASE)

    def _new_exchange(self) -> Path:
        exchange = self._disk.place / "exchange"
        shutil.rmtree(exchange, ignore_errors=True)
        exchange.mkdir()
        os.chown(exchange, UID_BASE, UID_BASE)
        return exchange

    async def _run_tool(
        self, script: str, request: dict[str, object], exchange: Path, *more_binds: Bind, writable: bool
    ) -> dict[str, str]:
        guard.check_mount_points(self._disk.upper)
        binds = (
            Bind(source=self.root / WORKSPACE.lstrip("/"), target=WORKSPACE, writable=writable),
            Bind(source=self._spec.mirror, target=guard.MIRROR),
            Bind(source=exchange, target=guard.TOOL_EXCHANGE, writable=True),
            *more_binds,
        )
        with told_when_full(self._disk.volume):
            return await run_tool(self._node, self.name, script, request, binds=binds, limits=self._spec.limits)
