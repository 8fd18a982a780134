"""The sandboxes of one Linux machine, by any OCI runtime."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path

import structlog
from anyio import to_thread

from cloister.errors import HostError, NotFoundError
from cloister.model.sandbox import SandboxName, SandboxSpec
from cloister.model.snapshot import CheckedDisk, SnapshotKey
from cloister.protocols import SandboxBackend
from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.berth import make_berth
from cloister.sandboxes.oci.bundle import UID_BASE
from cloister.sandboxes.oci.cgroup import HastenedEntry, hold_controllers, remove_groups
from cloister.sandboxes.oci.claims import BuildClaims
from cloister.sandboxes.oci.containers import Containers
from cloister.sandboxes.oci.disk import Disk, DiskState, kept_of, volume_of
from cloister.sandboxes.oci.entering import OciEnteredShell, enter, find_enterable
from cloister.sandboxes.oci.export import OciSnapshotExporter
from cloister.sandboxes.oci.final_disk import first_state, hide_former_answer
from cloister.sandboxes.oci.guard import make_guard
from cloister.sandboxes.oci.image import OciImageStore
from cloister.sandboxes.oci.listening import Listening
from cloister.sandboxes.oci.node import Node
from cloister.sandboxes.oci.paths import open_paths
from cloister.sandboxes.oci.runtime import find_runtime
from cloister.sandboxes.oci.sandbox import OciSandbox
from cloister.sandboxes.oci.snapshots import Snapshots
from cloister.sandboxes.oci.spares import Spares
from cloister.sandboxes.oci.terminal import OciTerminal, open_terminal
from cloister.sandboxes.oci.trash import Trash
from cloister.sandboxes.oci.volume import Volumes, give_up

INIT_PROGRAM = "catatonit"

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_backend(
    state: Path, images: OciImageStore, *, runtime: str = "auto", authorities: str = ""
) -> AsyncIterator["OciBackend"]:
    """Open the node whose state directory is `state`. `runtime` is a program's name or path, or `auto`.

    `authorities` are certificates in PEM that programs in sandboxes trust besides those that the host does.

    HostError when the host lacks something, or we are not root. What runs when the block is left goes on, under its
    supervisors.
    """
    if os.geteuid() != 0:
        raise HostError("sandboxes are made by root alone", hint="run cloister as root, for instance with sudo")
    init = shutil.which(INIT_PROGRAM)
    if init is None:
        raise HostError(f"{INIT_PROGRAM} is not installed", hint="cloister doctor")
    with open_paths(state, UID_BASE) as paths:
        trash = Trash(paths.trash)
        node = Node(
            paths=paths,
            images=images,
            snapshots=Snapshots(paths, trash),
            claims=BuildClaims(paths.claims),
            containers=Containers(find_runtime(runtime, paths.containers)),
            guard=make_guard(state, UID_BASE, authorities),
            init=Path(init),
            trash=trash,
            volumes=_open_volumes(paths.volumes),
        )
        backend = OciBackend(node)
        trash.sweep()
        node.snapshots.sweep()
        backend.exporter.sweep()
        node.claims.sweep()
        backend.spares.sweep()
        try:
            yield backend
        finally:
            backend.close()
            node.containers.close()
            await trash.wait()


def _open_volumes(place: Path) -> Volumes | None:
    volumes = Volumes(place)
    if error := volumes.find_error():
        _log.warning("nothing holds disks to their size", error=error)
        return None
    return volumes


class OciBackend:
    """`protocols.SandboxBackend` on this machine."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._open: dict[SandboxName, OciSandbox] = {}
        self._entry = HastenedEntry()
        self.spares = Spares(node)
        self.exporter = OciSnapshotExporter(node.snapshots, node.images, node.paths.exports)

    @property
    def runtime(self) -> str:
        """The OCI runtime."""
        runtime = self._node.containers.runtime
        return f"{runtime.name} {runtime.version}"

    @property
    def not_enforced(self) -> Sequence[str]:
        """Without volumes a disk is a directory, which no limit is kept of."""
        return ("limits.disk", "limits.inodes") if self._node.volumes is None else ()

    def expect(self) -> None:
        """Let the kernel get ready; see `protocols.SandboxBackend`."""
        self._entry.begin()

    async def create(self, name: SandboxName, spec: SandboxSpec) -> OciSandbox:
        """Find or create; see `protocols.SandboxBackend`."""
        sandbox = self._open.get(name) or await self._find(name, spec)
        if sandbox is None:
            if self._node.paths.sandbox(name).exists() or self._node.paths.disk(name).exists():
                await self.destroy(name)  # a half-made one
            sandbox = self._make(name, spec)
        self._open[name] = sandbox
        return sandbox

    async def destroy(self, name: SandboxName) -> None:
        """Remove every trace; see `protocols.SandboxBackend`."""
        if sandbox := self._open.pop(name, None):
            sandbox.close_listeners()
        place = self._node.paths.sandbox(name)
        for directory in [*place.glob("processes/*"), *place.glob("tools/*")]:
            await self._node.containers.remove(directory, f"{name}.{directory.name}")
        remove_groups(f"{name}.")
        for place_of_mount in [place / "root", place / "netns", *place.glob("tools/*.root")]:
            syscalls.unmount_all(str(place_of_mount))
        shutil.rmtree(place, ignore_errors=True)
        disk = self._node.paths.disk(name)
        give_up(volume_of(kept_of(disk)))
        self._node.trash.throw(disk)

    async def list(self) -> Sequence[SandboxName]:
        """Every sandbox here; see `protocols.SandboxBackend`."""
        places = (self._node.paths.sandboxes, self._node.paths.disks)
        return sorted({SandboxName(entry.name) for place in places for entry in place.iterdir()})

    async def open_terminal(self, name: SandboxName, command: str) -> OciTerminal:
        """Ask the command's supervisor for it; see `protocols.SandboxBackend`."""
        return await open_terminal(self._node.paths.sandbox(name) / "processes" / command)

    async def enter(self, name: SandboxName, *, terminal: str) -> OciEnteredShell:
        """Have the runtime start it; see `protocols.SandboxBackend`."""
        directory = find_enterable(self._node.paths.sandbox(name) / "processes")
        runtime = self._node.containers.runtime
        return await enter(runtime, directory, f"{name}.{directory.name}", terminal=terminal)

    async def has_snapshot(self, key: SnapshotKey) -> bool:
        """Whether it is kept and usable; see `protocols.SandboxBackend`."""
        return self._node.snapshots.find(key) is not None

    async def flaw_of_snapshot(self, key: SnapshotKey) -> str | None:
        """What is wrong with it; see `protocols.SandboxBackend`."""
        return self._node.snapshots.flaw(key)

    async def snapshots(self) -> Sequence[SnapshotKey]:
        """Every one that is kept; see `protocols.SandboxBackend`."""
        return self._node.snapshots.keys()

    async def size_of_snapshot(self, key: SnapshotKey) -> int | None:
        """What was counted; see `protocols.SandboxBackend`."""
        return self._node.snapshots.size(key)

    async def digest_of_snapshot(self, key: SnapshotKey) -> str | None:
        """What was computed; see `protocols.SandboxBackend`."""
        return self._node.snapshots.digest(key)

    async def check_snapshot(self, key: SnapshotKey) -> Sequence[CheckedDisk]:
        """Read it again; see `protocols.SandboxBackend`."""
        return await to_thread.run_sync(self._node.snapshots.check, key)

    async def remove_snapshot(self, key: SnapshotKey) -> None:
        """Forget it; see `protocols.SandboxBackend`."""
        self._node.snapshots.remove(key)

    async def claim_build(self, key: SnapshotKey, *, wait: bool) -> AbstractContextManager[None] | None:
        """Lock a file; see `protocols.SandboxBackend`."""
        return await self._node.claims.claim(key, wait=wait)

    def close(self) -> None:
        """Give back our own descriptors. The sandboxes stay as they are."""
        for sandbox in self._open.values():
            sandbox.close_listeners()
        self._open.clear()

    async def _find(self, name: SandboxName, spec: SandboxSpec) -> OciSandbox | None:
        disk, place = self._find_disk(name), self._node.paths.sandbox(name)
        if disk is None:
            return None
        listening = await Listening.again(place / "netns", place / "processes")
        return OciSandbox(self._node, name, spec, disk, listening)

    def _find_disk(self, name: SandboxName) -> Disk | None:
        place = self._node.paths.sandbox(name)
        disk = Disk.find(self._node.paths.disk(name))
        return disk if all(os.path.ismount(place / part) for part in ("root", "netns")) else None

    def _make(self, name: SandboxName, spec: SandboxSpec) -> OciSandbox:
        self._node.images.rootfs(spec.image)
        state, place, disk_place = (
            self._first_state(name, spec),
            self._node.paths.sandbox(name),
            self._node.paths.disk(name),
        )
        hold_controllers(name)
        sockets = self.spares.take(name, spec.limits) or make_berth(self._node, place, disk_place, spec.limits)
        disk = Disk.create(disk_place, state, owner=UID_BASE)
        if self._is_final(spec):
            hide_former_answer(disk.upper, UID_BASE)
        sandbox = OciSandbox(self._node, name, spec, disk, Listening(place / "netns", sockets))
        try:
            sandbox.mount()
        except FileNotFoundError as error:  # the snapshot was being removed before our disk said that it stands on it
            raise NotFoundError(f"a layer of {name} is not on this machine any more") from error
        return sandbox

    def _first_state(self, name: SandboxName, spec: SandboxSpec) -> DiskState:
        if spec.beside is not None:
            return self._state_beside(spec.beside)
        if spec.snapshot is not None:
            marker = self._node.snapshots.get(spec.snapshot)
            if marker.attempt:
                return first_state(marker, spec.snapshot, name, spec.image)
            return DiskState(image=spec.image, snapshot=spec.snapshot, commit=marker.commit, clean=True)
        return DiskState(image=spec.image)

    def _is_final(self, spec: SandboxSpec) -> bool:
        marker = self._node.snapshots.find(spec.snapshot) if spec.snapshot and not spec.beside else None
        return marker is not None and bool(marker.attempt)

    def _state_beside(self, name: SandboxName) -> DiskState:
        other = Disk.find(self._node.paths.disk(name))
        if other is None or other.state.commit is None:
            raise NotFoundError(f"the sandbox {name} is not on this machine, or has no work tree")
        below = self._node.snapshots.find(SnapshotKey(other.state.snapshot)) if other.state.snapshot else None
        return DiskState(
            image=other.state.image,
            snapshot=other.state.snapshot,
            commit=other.state.commit,
            clean=True,
            beside=name,
            layers_beside=other.state.layers,
            left_out=1 if below is not None and below.attempt else 0,
        )


def _conforms(backend: OciBackend) -> SandboxBackend:
    return backend
