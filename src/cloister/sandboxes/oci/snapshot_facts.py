"""Finds out what a kept disk takes, and its digest, by a program that outlives us: a tree may be of any size."""

import shlex
import subprocess
from pathlib import Path

from cloister.sandboxes.oci.snapshot_digest import COMMAND, DIGEST, read_digest
from cloister.sandboxes.oci.snapshot_marker import SnapshotMarker

SIZE = "size"
MOST_SECONDS = 600
"""For each. What takes longer is not known, and is tried again when the backend is opened the next time."""

# The lock: any number of our processes may see that nobody has counted yet. The sync: before it, a file that was just
# written has blocks that it will not keep. du looks at names and inodes alone.
_FIND_OUT = f"""
set -e
exec 9>>"$1/{SIZE}.lock"
flock $2 9
sync --file-system -- "$1"
bytes=$(timeout {MOST_SECONDS} nice -n 19 ionice -c 3 du -sx --block-size=1 -- "$1")
echo "$bytes" | cut -f 1 >"$1/{SIZE}.draft"
mv -- "$1/{SIZE}.draft" "$1/{SIZE}"
timeout {MOST_SECONDS} nice -n 19 ionice -c 3 {shlex.join(COMMAND)} "$1" >"$1/{DIGEST}.draft"
mv -- "$1/{DIGEST}.draft" "$1/{DIGEST}"
"""


def begin_to_find_out(place: Path, *, anew: bool = False) -> None:
    """Start to look at the disk at `place`, and wait for nothing. Harmless while somebody does already.

    With `anew`, because the disk is another one now: look again behind whoever looks already.
    """
    subprocess.run(
        ["setsid", "--fork", "sh", "-c", _FIND_OUT, "sh", str(place), f"--wait={2 * MOST_SECONDS}" if anew else "-n"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def has_found_out(place: Path, marker: SnapshotMarker) -> bool:
    """Whether both are known, of the disk as it is now."""
    return read_size(place) is not None and read_digest(place, marker) is not None


def read_size(place: Path) -> int | None:
    """Return the bytes that were counted; None as long as they are not."""
    try:
        return int((place / SIZE).read_text())
    except (OSError, ValueError):
        return None
