"""Brings a kept disk out of its volume: `python -m cloister.sandboxes.oci.settle STATE KEY`.

It outlives the process that kept the disk, and whoever starts from the disk meanwhile has its layers from the volume.
"""

import sys
from contextlib import suppress
from pathlib import Path

from cloister.errors import NotFoundError
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci.paths import paths_of
from cloister.sandboxes.oci.snapshots import Snapshots
from cloister.sandboxes.oci.trash import Trash


def main() -> None:
    """Run as a program; a disk that cannot be copied stays in its volume, and is good until the next boot."""
    state, key = sys.argv[1:]
    paths = paths_of(Path(state))
    with suppress(NotFoundError):  # removed meanwhile
        Snapshots(paths, Trash(paths.trash)).settle(SnapshotKey(key))


if __name__ == "__main__":
    main()
