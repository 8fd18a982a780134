"""Kept disks, by key: a snapshot is what a sandbox's disk kept, under another name."""

import fcntl
import json
import os
import secrets
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cloister.errors import ConflictError, NotFoundError
from cloister.model.sandbox import Commit
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci.disk import Disk, git_of, layers_of
from cloister.sandboxes.oci.paths import NodePaths
from cloister.sandboxes.oci.trash import Trash

MARKER = "snapshot.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMarker:
    """Written last: a directory without it is no snapshot."""

    image: str
    commit: Commit
    layers: int
    boot_id: str
    id: str = ""
    """Random: a disk that is kept anew under the same key is another one."""
    synced: bool = False
    """Whether it has reached the disk; until then it is good only until the next boot."""


class Snapshots:
    """The snapshots of one node."""

    def __init__(self, paths: NodePaths, trash: Trash) -> None:
        self._paths = paths
        self._trash = trash

    def find(self, key: SnapshotKey) -> SnapshotMarker | None:
        """Return the marker of a complete and usable snapshot, else None."""
        marker = _read_marker(self._place(key))
        return marker if marker is not None and (marker.synced or marker.boot_id == _boot_id()) else None

    def keys(self) -> Sequence[SnapshotKey]:
        """Every usable one."""
        found = (SnapshotKey(place.name) for place in self._paths.snapshots.iterdir())
        return [key for key in found if self.find(key) is not None]

    def sweep(self) -> None:
        """Throw away what is no snapshot, or none any more: half kept, or lost by a power cut."""
        with self._alone():
            for place in self._paths.snapshots.iterdir():
                if self.find(SnapshotKey(place.name)) is None:
                    self._trash.throw(place)

    def get(self, key: SnapshotKey) -> SnapshotMarker:
        """Return its marker. NotFoundError when it is not here."""
        marker = self.find(key)
        if marker is None:
            raise NotFoundError(f"the snapshot {key[:12]} is not on this machine")
        return marker

    def layers(self, key: SnapshotKey) -> Sequence[Path]:
        """Its layers, topmost first."""
        return layers_of(self._place(key), self.get(key).layers)

    def git(self, key: SnapshotKey) -> Path:
        """The trusted git directory that belongs to its work tree."""
        return git_of(self._place(key))

    def keep(self, key: SnapshotKey, disk: Disk, commit: Commit) -> bool:
        """Make a snapshot of `disk.kept`, which is renamed: constant time, whatever its size.

        A mount of the disk stays good: overlayfs holds its layers, not their paths.
        False, and the disk is left as it is, when somebody kept one meanwhile: a sandbox may stand on that already.
        """
        place = self._place(key)
        marker = SnapshotMarker(
            image=disk.state.image,
            commit=commit,
            layers=disk.state.layers,
            boot_id=_boot_id(),
            id=secrets.token_hex(8),
        )
        with self._alone():
            if self.find(key) is not None:
                return False
            self._trash.throw(place)  # what an interrupted earlier keeping left
            disk.kept.rename(place)
            self._write_marker(place, marker)
        threading.Thread(target=self._sync, args=(place, marker), name=f"cloister-sync-{key[:8]}", daemon=True).start()
        return True

    def remove(self, key: SnapshotKey) -> None:
        """Forget it. Absent is not an error; ConflictError while a sandbox stands on it, or somebody holds it."""
        for place in self._paths.disks.iterdir():
            disk = Disk.find(place)
            if disk is not None and disk.state.snapshot == key:
                raise ConflictError(f"the snapshot {key[:12]} is in use by {place.name}")
        with self._alone():  # a sync that ends now must not write into what is being removed
            try:
                with _locked(self._place(key), fcntl.LOCK_EX):
                    self._trash.throw(self._place(key))
            except FileNotFoundError:
                return
            except BlockingIOError as error:
                raise ConflictError(f"the snapshot {key[:12]} is being exported", hint="wait for its end") from error

    @contextmanager
    def held(self, key: SnapshotKey) -> Iterator[SnapshotMarker]:
        """Let nobody remove it, in this and other processes, while it is read. NotFoundError when it is not here."""
        with ExitStack() as stack:
            with self._alone():
                marker = self.get(key)
                stack.enter_context(_locked(self._place(key), fcntl.LOCK_SH))
            yield marker

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes of this node out, for the moment that a renaming takes."""
        with (self._paths.state / "snapshots.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _sync(self, place: Path, marker: SnapshotMarker) -> None:
        done = subprocess.run(["sync", "--file-system", str(place)], check=False)
        with self._alone():
            if done.returncode == 0 and _read_marker(place) == marker:  # it may have been removed, or kept anew
                self._write_marker(place, replace(marker, synced=True))

    def _write_marker(self, place: Path, marker: SnapshotMarker) -> None:
        draft = place / f"{MARKER}.draft"
        draft.write_text(json.dumps(asdict(marker)))
        draft.rename(place / MARKER)

    def _place(self, key: SnapshotKey) -> Path:
        return self._paths.snapshots / key


@contextmanager
def _locked(place: Path, kind: int) -> Iterator[None]:
    """Lock a directory, which ends with our process at the latest. BlockingIOError when somebody else has."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _read_marker(place: Path) -> SnapshotMarker | None:
    try:
        return SnapshotMarker(**json.loads((place / MARKER).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()
