"""Copies the layers of a kept disk out of its volume, by a program that outlives us: they may be of any size."""

import subprocess
import sys
from pathlib import Path

from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci.disk import LAYERS

# The lock: any number of our processes may see that nobody has begun. The directory: the disk can be renamed meanwhile.
# The mount point: in another mount namespace than that of who kept the disk, there is nothing to copy.
# The sync: a write that the host could not do is told of then, if ever.
# cp follows no link, opens regular files alone, and keeps hard links, holes and attributes.
_COPY = f"""
set -e
cd -- "$1"
exec 9>>settling.lock
flock 9
test ! -e {LAYERS} || exit 0
mountpoint -q -- "$2"
rm -rf {LAYERS}.draft
if test -e "$2"/{LAYERS}; then
  ionice -c 3 cp -a -- "$2"/{LAYERS} {LAYERS}.draft
else
  mkdir {LAYERS}.draft
fi
sync --file-system -- "$2"
mv -T {LAYERS}.draft {LAYERS}
"""


def begin_to_settle(state: Path, key: SnapshotKey) -> None:
    """Start the program `settle`, and wait for nothing. Harmless while it runs already."""
    program = "cloister.sandboxes.oci.settle"
    subprocess.run(
        ["setsid", "--fork", "nice", "-n", "19", sys.executable, "-m", program, str(state), key],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def copy_out(place: Path, mounted: Path) -> bool:
    """Give the disk kept at `place` its own layers, as they are in its volume, `mounted`; return when that is done.

    False when it cannot be, or the disk was removed meanwhile.
    """
    done = subprocess.run(
        ["sh", "-c", _COPY, "sh", str(place), str(mounted.relative_to(place))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )
    return done.returncode == 0
