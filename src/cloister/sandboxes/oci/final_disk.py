"""The final disk of an attempt: kept for follow-ups, with what agents wrote in one layer apart from the rest.

So a later turn has that layer in its change, which is always against the task's base, and its clean room has not. It
stands on the environment's snapshot and never on an earlier turn's disk: however many turns a task has, the stack is no
higher, and each disk goes by itself. It is a copy, because a volume ends with its sandbox; what an earlier turn's disk
has already is linked.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from anyio import run_process

from cloister.errors import NotFoundError, SandboxError
from cloister.model.sandbox import ImageDigest, SandboxName, are_of_one_task
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci.disk import LAYERS, Disk, DiskState, git_of, kept_of
from cloister.sandboxes.oci.guard import OUT
from cloister.sandboxes.oci.layer_merge import merge_apart
from cloister.sandboxes.oci.node import Node
from cloister.sandboxes.oci.snapshot_marker import SnapshotMarker


def first_state(marker: SnapshotMarker, key: SnapshotKey, name: SandboxName, image: str) -> DiskState:
    """Return the state of the disk of sandbox `name`, made from a final disk.

    SandboxError when that is another task's, NotFoundError when it does not stand on that image.
    """
    if not are_of_one_task(SandboxName(marker.attempt), name):
        raise SandboxError(f"{name} cannot start from the disk of {marker.attempt}, which is another task's")
    if marker.image != image:
        raise NotFoundError(f"the disk of {marker.attempt} stands on another image")
    return DiskState(image=image, snapshot=key, commit=marker.commit)


def hide_former_answer(upper: Path, owner: int) -> None:
    """Let nothing be seen of what former agents left in /cloister/out. `upper` is fresh and empty."""
    folder = upper
    for part in OUT.strip("/").split("/"):
        folder = folder / part
        folder.mkdir(mode=0o755)
        os.chown(folder, owner, owner)
    os.setxattr(folder, "trusted.overlay.opaque", b"y")


class FinalDisk:
    """What one sandbox has to do with final disks: the one that it was made from, and the one that it leaves."""

    def __init__(self, node: Node, disk: Disk) -> None:
        self._node = node
        self._disk = disk

    @property
    def former(self) -> SnapshotMarker | None:
        """Of the final disk that the sandbox stands on, an earlier turn's."""
        key = self._disk.state.snapshot
        marker = self._node.snapshots.find(SnapshotKey(key)) if key is not None else None
        return marker if marker is not None and marker.attempt else None

    def forget_merged(self) -> None:
        """Something may be written again."""
        if self._merged.exists():
            self._node.trash.throw(self._merged)

    async def all_written(self) -> Path:
        """Return one layer that shows what this turn's agent and those before it wrote. SandboxError if none can."""
        if self.former is None or self._disk.state.left_out:
            return self._disk.upper
        if not self._merged.exists():
            agents, *rest = self._layers()
            turn, draft = self._disk.place / "turn", self._merged.with_suffix(".draft")
            for path in (turn, draft):
                self._node.trash.throw(path)
            await self._copy(self._disk.upper, turn)
            await merge_apart([turn, agents], [*rest, self._image], draft)
            draft.rename(self._merged)
            self._node.trash.throw(turn)
        return self._merged

    async def make(self) -> Disk:
        """Copy all that agents wrote, above all that setup did above the snapshot, to a disk of their own."""
        former, state = self.former, self._disk.state
        place = self._disk.place / "final"
        self._node.trash.throw(place)
        layers = kept_of(place) / LAYERS
        layers.mkdir(parents=True)
        agents = await self.all_written()
        own = self._layers()[1 : former.layers] if former is not None else self._disk.sealed
        for number, layer in enumerate(reversed(own)):
            await self._copy(layer, layers / str(number))
        if former is None:
            await self._copy(agents, layers / str(len(own)))
        else:
            agents.rename(layers / str(len(own)))
        shutil.copytree(self._disk.git, git_of(kept_of(place)), symlinks=True)
        below = state.snapshot if former is None else former.below
        return Disk(place, DiskState(image=state.image, snapshot=below, layers=len(own) + 1, commit=state.commit))

    async def _copy(self, layer: Path, target: Path) -> None:
        """Link what is on the same file system. `cp` follows no link, and keeps attributes and holes."""
        how = ("-a", "--link") if _are_near(layer, target.parent) else ("-a",)
        done = await run_process(["cp", *how, "--", str(layer), str(target)], check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()[-500:]
            raise SandboxError(f"what was written could not be copied: {said}")

    @property
    def _merged(self) -> Path:
        return self._disk.place / "merged"

    @property
    def _image(self) -> Path:
        return self._node.images.rootfs(ImageDigest(self._disk.state.image))

    def _layers(self) -> Sequence[Path]:
        key = self._disk.state.snapshot
        assert key is not None
        return self._node.snapshots.layers(SnapshotKey(key))


def _are_near(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
