"""The disk of a sandbox: a stack of layers in one directory, kept, renamed and removed as a whole."""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from cloister.model.sandbox import Commit
from cloister.sandboxes.oci.volume import mounted_at

MARKER = "disk.json"
LAYERS = "layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskState:
    """What is true of a disk between two steps; written before each step that relies on it."""

    image: str
    """Digest of the image below."""
    snapshot: str | None = None
    """Key of the snapshot below, when there is one."""
    layers: int = 0
    """Sealed layers; the one being written to comes above them."""
    commit: Commit | None = None
    """What the work tree was last put to."""
    clean: bool = False
    """Whether nothing was written since the work tree was put there."""
    beside: str | None = None
    """The disk whose sealed layers are below, and above the snapshot's."""
    layers_beside: int = 0
    """How many of them."""
    left_out: int = 0
    """How many of the snapshot's topmost layers are not below: what agents wrote, where nothing of it may be."""


class Disk:
    """One directory: `upper` is written to; `kept`, with the layers below it and `git`, becomes a snapshot.

    Beside them `work`, `tmp` and the marker. With a volume in `kept`, all that the sandbox writes lies there.
    """

    def __init__(self, place: Path, state: DiskState) -> None:
        self.place = place
        self.state = state

    @classmethod
    def create(cls, place: Path, state: DiskState, *, owner: int) -> Self:
        """Make an empty disk around the volume that is there, if any; `owner` is the host's id of container root."""
        place.mkdir(parents=True, exist_ok=True)
        disk = cls(place, state)
        disk._add_upper(owner)
        disk.remember(state)
        return disk

    @classmethod
    def prepare(cls, place: Path, *, owner: int) -> None:
        """Make what a disk at `place` will have in its volume: each first directory reads another part of it."""
        disk = cls(place, DiskState(image=""))
        if disk.has_volume:
            disk._add_upper(owner)
            for part in (disk._work, disk.tmp):
                part.mkdir()

    @classmethod
    def find(cls, place: Path) -> Self | None:
        """Return the disk at `place`; None when there is none, or a step of it was never finished."""
        state = read_state(place)
        if state is None:
            return None
        disk = cls(place, state)
        return disk if all(layer.is_dir() for layer in (disk.upper, *disk.sealed)) else None

    @property
    def volume(self) -> Path:
        """Where its volume is, when it has one."""
        return volume_of(self.kept)

    @property
    def has_volume(self) -> bool:
        """Whether what is written has a file system of its own."""
        return self.volume.is_dir()

    @property
    def upper(self) -> Path:
        """The layer that is written to."""
        return self._written / "upper"

    @property
    def kept(self) -> Path:
        """What a snapshot of this disk is made of."""
        return kept_of(self.place)

    @property
    def sealed(self) -> Sequence[Path]:
        """The layers below `upper`, topmost first."""
        return layers_of(self.kept, self.state.layers)

    @property
    def git(self) -> Path:
        """The trusted git directory, which no program of the sandbox ever sees."""
        return git_of(self.kept)

    def new_work(self) -> Path:
        """Return a work directory that overlayfs has never seen: a volatile mount takes no used one."""
        if not (self._work.is_dir() and _is_empty(self._work)):  # overlayfs leaves something in each that it has seen
            shutil.rmtree(self._work, ignore_errors=True)
            self._work.mkdir()
        return self._work

    @property
    def tmp(self) -> Path:
        """What containers have in /tmp: no part of what is kept, and nothing that the next one sees."""
        return self._written / "tmp"

    @property
    def graves(self) -> Path | None:
        """Where what is removed of it can be put, on the same file system; None outside of a volume."""
        return self._written / "gone" if self.has_volume else None

    def has_tmp(self) -> bool:
        """Whether a container had one."""
        with suppress(FileNotFoundError), os.scandir(self.tmp) as entries:
            return next(entries, None) is not None
        return False

    def new_tmp(self, name: str, *, owner: int) -> Path:
        """Return an empty directory for one container's /tmp."""
        tmp = self.tmp / name
        tmp.mkdir(parents=True, exist_ok=True)
        os.chown(tmp, owner, owner)
        tmp.chmod(0o1777)
        return tmp

    def is_empty(self) -> bool:
        """Whether nothing was written to the top layer."""
        return _is_empty(self.upper)

    def seal(self, *, owner: int) -> None:
        """Let the top layer never change again, and put an empty one above it. It must not be mounted."""
        layers = (mounted_at(self.volume) if self.has_volume else self.kept) / LAYERS
        layers.mkdir(parents=True, exist_ok=True)
        self.upper.rename(layers / str(self.state.layers))
        self._add_upper(owner)
        self.remember(replace(self.state, layers=self.state.layers + 1))

    def renew(self, *, owner: int) -> None:
        """Begin anew on the volume that is there, after the former one was kept."""
        self._add_upper(owner)

    def remember(self, state: DiskState) -> None:
        """Make `state` true, atomically."""
        self.state = state
        draft = self.place / f"{MARKER}.draft"
        draft.write_text(json.dumps(asdict(state)))
        draft.rename(self.place / MARKER)

    @property
    def _work(self) -> Path:
        return self._written / "work"

    @property
    def _written(self) -> Path:
        return mounted_at(self.volume) if self.has_volume else self.place

    def _add_upper(self, owner: int) -> None:
        self.upper.mkdir(exist_ok=True)
        os.chown(self.upper, owner, owner)
        self.upper.chmod(0o755)


def _is_empty(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def read_state(place: Path) -> DiskState | None:
    """Return what is true of the disk at `place`, whole or not; None when that was never written."""
    try:
        return DiskState(**json.loads((place / MARKER).read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # a power cut can leave an empty marker
        return None


def layers_of(kept: Path, count: int) -> Sequence[Path]:
    """Return the sealed layers in a disk's `kept`, or in the snapshot that it became; topmost first.

    They may lie in a volume, until they are copied out of it.
    """
    layers = kept / LAYERS
    if not layers.exists() and volume_of(kept).is_dir():
        layers = mounted_at(volume_of(kept)) / LAYERS
    return [layers / str(number) for number in reversed(range(count))]


def kept_of(place: Path) -> Path:
    """Return what a snapshot of the disk at `place` would be made of."""
    return place / "kept"


def volume_of(kept: Path) -> Path:
    """Return where the volume of a disk's `kept`, or of the snapshot that it became, would be."""
    return kept / "volume"


def git_of(kept: Path) -> Path:
    """Return the trusted git directory in a disk's `kept`, or in the snapshot that it became."""
    return kept / "git"
