"""Finds out what a kept disk takes, and its digest, by a program that outlives us: a tree may be of any size."""

import os
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

from cloister.sandboxes.oci.snapshot_digest import COMMAND, DIGEST, read_digest
from cloister.sandboxes.oci.snapshot_marker import SnapshotMarker

SIZE = "size"
_SMALL_TREE = 2000
"""Entries, which take a few milliseconds."""
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
[ "$3" = size ] && exit
timeout {MOST_SECONDS} nice -n 19 ionice -c 3 {shlex.join(COMMAND)} "$1" >"$1/{DIGEST}.draft"
mv -- "$1/{DIGEST}.draft" "$1/{DIGEST}"
"""


def begin_to_find_out(place: Path, *, anew: bool = False, digest: bool = True) -> None:
    """Start to look at the disk at `place`, and wait for nothing. Harmless while somebody does already.

    With `anew`, because the disk is another one now: look again behind whoever looks already. Without `digest`, at its
    size alone.
    """
    waiting = f"--wait={2 * MOST_SECONDS}" if anew else "-n"
    subprocess.run(
        ["setsid", "--fork", "sh", "-c", _FIND_OUT, "sh", str(place), waiting, "both" if digest else "size"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def note_size(place: Path) -> bool:
    """Count a small tree at once, and write down what it takes; False, and nothing is written, for a larger one."""
    waiting, size, entries = [place], 0, 0
    with suppress(OSError):  # it is being removed
        while waiting:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
            if entries > _SMALL_TREE:
                return False
        (place / f"{SIZE}.draft").write_text(str(size))
        (place / f"{SIZE}.draft").rename(place / SIZE)
    return True


def has_found_out(place: Path, marker: SnapshotMarker) -> bool:
    """Whether both are known, of the disk as it is now. Of an attempt's final disk nobody asks for a digest."""
    return read_size(place) is not None and (bool(marker.attempt) or read_digest(place, marker) is not None)


def read_size(place: Path) -> int | None:
    """Return the bytes that were counted; None as long as they are not."""
    try:
        return int((place / SIZE).read_text())
    except (OSError, ValueError):
        return None
