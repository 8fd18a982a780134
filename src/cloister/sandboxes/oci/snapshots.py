"""Kept disks, by key: a snapshot is what a sandbox's disk kept, under another name."""

import fcntl
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from cloister.errors import ConflictError, NotFoundError, SandboxError
from cloister.model.sandbox import Commit
from cloister.model.snapshot import CheckedDisk, SnapshotKey
from cloister.sandboxes.oci.boot import boot_id
from cloister.sandboxes.oci.directory_lock import locked
from cloister.sandboxes.oci.disk import Disk, git_of, layers_of, read_state, volume_of
from cloister.sandboxes.oci.paths import NodePaths
from cloister.sandboxes.oci.settling import begin_to_settle, copy_out
from cloister.sandboxes.oci.snapshot_digest import compute_digest, read_digest
from cloister.sandboxes.oci.snapshot_facts import begin_to_find_out, has_found_out, note_size, read_size
from cloister.sandboxes.oci.snapshot_marker import (
    FLAT,
    MARKER,
    RULES,
    SnapshotMarker,
    find_flaw,
    read_marker,
    write_marker,
)
from cloister.sandboxes.oci.trash import Trash
from cloister.sandboxes.oci.volume import mounted_at

_GOING = ".going"
_LOOK_AGAIN_SECONDS = 0.5


class Snapshots:
    """The snapshots of one node."""

    def __init__(self, paths: NodePaths, trash: Trash) -> None:
        self._paths = paths
        self._trash = trash

    def find(self, key: SnapshotKey) -> SnapshotMarker | None:
        """Return the marker of a complete and usable snapshot, else None."""
        return None if self.flaw(key) is not None else read_marker(self._place(key))

    def flaw(self, key: SnapshotKey) -> str | None:
        """Say why there is no usable disk of that key; None when there is one."""
        return find_flaw(self._paths.snapshots, key)

    def keys(self) -> Sequence[SnapshotKey]:
        """All, also those that cannot be used."""
        return [SnapshotKey(place.name) for place in self._paths.snapshots.iterdir() if place.suffix != _GOING]

    def sweep(self) -> None:
        """Throw away what was never kept as a whole, or was lost by a power cut. A damaged one stays, to be told of."""
        with self._alone():
            for place in self._paths.snapshots.iterdir():
                marker = read_marker(place)
                is_lost = marker is not None and not marker.synced and marker.boot_id != boot_id()
                if place.suffix == _GOING or is_lost or not (place / MARKER).exists():
                    self._trash.throw(place)
                elif marker is not None:
                    self._drop_former_layers(place, marker)
                    if volume_of(place).exists():
                        begin_to_settle(self._paths.state, SnapshotKey(place.name))
                    elif not has_found_out(place, marker):
                        begin_to_find_out(place, digest=not marker.attempt)

    def get(self, key: SnapshotKey) -> SnapshotMarker:
        """Return its marker. NotFoundError when it is not here."""
        marker = self.find(key)
        if marker is None:
            raise NotFoundError(f"the snapshot {key[:12]} is not on this machine")
        return marker

    def layers(self, key: SnapshotKey) -> Sequence[Path]:
        """Its layers and those below, topmost first. NotFoundError when it is not here."""
        place, marker = self._place(key), read_marker(self._place(key))
        if marker is None:
            raise NotFoundError(f"the snapshot {key[:12]} is not on this machine")
        if marker.flat:
            return [place / FLAT]
        below = self.layers(SnapshotKey(marker.below)) if marker.below is not None else []
        return [*layers_of(place, marker.layers), *below]

    def git(self, key: SnapshotKey) -> Path:
        """The trusted git directory that belongs to its work tree."""
        return git_of(self._place(key))

    def size(self, key: SnapshotKey) -> int | None:
        """Bytes that it takes, without those below; None until they are counted."""
        return read_size(self._place(key))

    def digest(self, key: SnapshotKey) -> str | None:
        """SHA-256 of it and those below; None until all are computed, and for one that cannot be."""
        own = [self._own_digest(each) for each in self._stack(key)]
        whole = " ".join(digest for digest in own if digest)
        return None if None in own or not own else whole if len(own) == 1 else sha256(whole.encode()).hexdigest()

    def check(self, key: SnapshotKey) -> Sequence[CheckedDisk]:
        """Read it and those below, topmost first, and say what their digests were and are.

        It takes as long as reading does. NotFoundError when it is not here, SandboxError when it cannot be read.
        """
        with self.held(key):
            return [
                CheckedDisk(key=each, kept=self._own_digest(each), found=compute_digest(self._place(each)))
                for each in self._stack(key)
            ]

    def _stack(self, key: SnapshotKey) -> Sequence[SnapshotKey]:
        """The key, and those that its layers lie above."""
        marker = read_marker(self._place(key))
        below = marker.below if marker is not None and not marker.flat else None
        return [key, *(self._stack(SnapshotKey(below)) if below is not None else ())]

    def _own_digest(self, key: SnapshotKey) -> str | None:
        marker = read_marker(self._place(key))
        digest = read_digest(self._place(key), marker) if marker is not None else None
        return digest.sha256 if digest is not None else None

    def keep(self, key: SnapshotKey, disk: Disk, commit: Commit, *, attempt: str = "") -> bool:
        """Make a snapshot of `disk.kept`, which is renamed: constant time, whatever its size.

        With `attempt`, it is the final disk of that sandbox; see `SnapshotMarker.attempt`.

        A mount of the disk stays good: overlayfs holds its layers, not their paths.
        False, and the disk is left as it is, when somebody kept one meanwhile, or a sandbox stands on a damaged one.
        """
        place = self._place(key)
        below = disk.state.snapshot
        marker = SnapshotMarker(
            image=disk.state.image,
            commit=commit,
            layers=disk.state.layers,
            boot_id=boot_id(),
            id=secrets.token_hex(8),
            rules=RULES,
            below=below,
            below_id=self.get(SnapshotKey(below)).id if below is not None else "",
            attempt=attempt,
        )
        with self._alone():
            if self.find(key) is not None or self._needs(key):
                return False
            self._trash.throw(place)  # what an interrupted earlier keeping left
            disk.kept.rename(place)
            write_marker(place, marker)
        if volume_of(place).exists():
            begin_to_settle(self._paths.state, key)
        else:
            threading.Thread(
                target=self._count_and_sync, args=(place, marker), name=f"cloister-keep-{key[:8]}", daemon=True
            ).start()
        return True

    def settle(self, key: SnapshotKey) -> None:
        """Bring it out of its volume, sync it, and let the volume go; it takes a while. Harmless twice.

        NotFoundError when it is not here. When it cannot be copied out, it is good until the next boot.
        """
        place, marker = self._place(key), self.get(key)
        volume = volume_of(place)
        if volume.exists() and (marker.flat or copy_out(place, mounted_at(volume))):
            self._sync(place, marker)
            self._drop_volume(place)
            begin_to_find_out(place)

    def copy_out(self, key: SnapshotKey) -> None:
        """Wait until no layer of it, and of those below, is in a volume. SandboxError when one cannot be copied out."""
        place, marker = self._place(key), self.get(key)
        if volume_of(place).exists() and not (marker.flat or copy_out(place, mounted_at(volume_of(place)))):
            raise SandboxError(f"the layers of snapshot {key[:12]} could not be copied out of their volume")
        if marker.below is not None and not marker.flat:
            self.copy_out(SnapshotKey(marker.below))

    def replace_layers(self, key: SnapshotKey, id: str, flat: Path) -> bool:
        """Let `flat`, which shows the same, stand for all layers of `key` and below, if it is still the one of that id.

        The former layers go when no sandbox stands on it that could have them mounted.
        """
        place = self._place(key)
        with self._alone():
            marker = read_marker(place)
            if marker is None or marker.id != id or marker.flat:
                return False
            flat.rename(place / FLAT)
            marker = replace(marker, flat=True)
            write_marker(place, marker)
            self._drop_former_layers(place, marker)
        begin_to_find_out(place, anew=True)
        return True

    def _drop_former_layers(self, place: Path, marker: SnapshotMarker) -> None:
        layers = place / "layers"
        if marker.flat and layers.exists() and self._user(place.name) is None:
            with suppress(BlockingIOError), locked(place, fcntl.LOCK_EX | fcntl.LOCK_NB):  # somebody reads them
                self._trash.throw(layers)
                write_marker(place, replace(marker, below=None))

    def remove(self, key: SnapshotKey) -> None:
        """Forget it. Absent is not an error; ConflictError while something stands on it, or somebody holds it.

        Sandboxes are made without a lock. So it is taken out of their way first, and then looked whether one was
        quicker: whoever says that he stands on it afterwards does not find it.
        """
        place = self._place(key)
        with self._alone():
            self._refuse_needed(key)
            if not place.exists():
                return
            try:
                with locked(place, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    self._take_away(key, place, place.with_suffix(_GOING))
            except BlockingIOError as error:
                raise ConflictError(f"the snapshot {key[:12]} is being exported", hint="wait for its end") from error

    @contextmanager
    def held(self, key: SnapshotKey) -> Iterator[SnapshotMarker]:
        """Let nobody remove it, in this and other processes, while it is read. NotFoundError when it is not here."""
        with ExitStack() as stack:
            with self._alone():
                marker = self.get(key)
                stack.enter_context(locked(self._place(key), fcntl.LOCK_SH | fcntl.LOCK_NB))
            yield marker

    def _take_away(self, key: SnapshotKey, place: Path, going: Path) -> None:
        place.rename(going)
        try:
            self._refuse_needed(key)
        except ConflictError:
            going.rename(place)
            raise
        self._trash.throw(going)

    def _refuse_needed(self, key: SnapshotKey) -> None:
        if needs := self._needs(key):
            raise ConflictError(f"the snapshot {key[:12]} is in use by {needs}")

    def _needs(self, key: SnapshotKey) -> str | None:
        """Name a sandbox or a snapshot that stands on it."""
        if (user := self._user(key)) is not None:
            return user
        for place in self._paths.snapshots.iterdir():
            marker = read_marker(place)
            if marker is not None and marker.below == key:
                return f"the snapshot {place.name[:12]}"
        return None

    def _user(self, key: str) -> str | None:
        for place in self._paths.disks.iterdir():
            state = read_state(place)  # and not whether it is whole: it is not, while a layer of it is sealed
            if state is not None and state.snapshot is not None and self._stands_on(state.snapshot, key):
                return place.name
        return None

    def _stands_on(self, above: str, key: str) -> bool:
        """Whether it is that one, or stood on it when sandboxes may have mounted both."""
        while above != key:
            marker = read_marker(self._place(SnapshotKey(above)))
            if marker is None or marker.below is None:
                return False
            above = marker.below
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes of this node out, for the moment that a renaming takes."""
        with (self._paths.state / "snapshots.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _count_and_sync(self, place: Path, marker: SnapshotMarker) -> None:
        """Do what nobody waits for. Final disks are many, small, and worth nothing after a power cut."""
        if not marker.attempt:
            begin_to_find_out(place)
            self._sync(place, marker)
        elif not note_size(place):
            begin_to_find_out(place, digest=False)

    def _drop_volume(self, place: Path) -> None:
        """Wait until nobody reads it by its path. A mount above it stays good: overlayfs holds its layers."""
        while True:
            try:
                with locked(place, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    delete = self._trash.take(volume_of(place))
            except BlockingIOError:
                time.sleep(_LOOK_AGAIN_SECONDS)
            except FileNotFoundError:
                return
            else:
                delete()
                return

    def _sync(self, place: Path, marker: SnapshotMarker) -> None:
        done = subprocess.run(["sync", "--file-system", str(place)], stderr=subprocess.DEVNULL, check=False)
        with self._alone():
            found = read_marker(place)
            if done.returncode == 0 and found is not None and found.id == marker.id:  # not removed, or kept anew
                write_marker(place, replace(found, synced=True))

    def _place(self, key: SnapshotKey) -> Path:
        return self._paths.snapshots / key
