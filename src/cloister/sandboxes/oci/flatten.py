"""Makes one layer of a kept disk's many: `python -m cloister.sandboxes.oci.flatten STATE KEY ROOTFS`.

It outlives the process that kept the disk, and whoever starts from the disk meanwhile uses the many.
"""

import fcntl
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from cloister.errors import SandboxError
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci.layer_merge import merge_layers
from cloister.sandboxes.oci.paths import paths_of
from cloister.sandboxes.oci.snapshot_marker import FLAT
from cloister.sandboxes.oci.snapshots import Snapshots
from cloister.sandboxes.oci.trash import Trash


def begin_to_flatten(state: Path, key: SnapshotKey, rootfs: Path) -> None:
    """Start to merge the layers of `key`, above the image at `rootfs`, and wait for nothing."""
    subprocess.run(
        ["setsid", "--fork", "nice", "-n", "19", sys.executable, "-m", __name__, str(state), key, str(rootfs)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def flatten(state: Path, key: SnapshotKey, rootfs: Path) -> bool:
    """Merge the layers of `key` and of what it stands on; False when somebody does, or it was removed meanwhile."""
    paths = paths_of(state)
    snapshots = Snapshots(paths, Trash(paths.trash))
    place, marker = paths.snapshots / key, snapshots.get(key)
    with (place / f"{FLAT}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        snapshots.copy_out(key)  # links reach no other file system
        draft = place / f"{FLAT}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        merge_layers(snapshots.layers(key), [rootfs], draft)
        subprocess.run(["sync", "--file-system", str(draft)], check=True)
        return snapshots.replace_layers(key, marker.id, draft)


def main() -> None:
    """Run as a program; a disk that cannot be merged stays as it is."""
    state, key, rootfs = sys.argv[1:]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(SandboxError, OSError):
        flatten(Path(state), SnapshotKey(key), Path(rootfs))


if __name__ == "__main__":
    main()
