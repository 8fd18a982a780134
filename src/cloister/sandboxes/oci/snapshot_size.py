"""Counts what a kept disk takes, by a program that outlives us: a tree may be of any size."""

import subprocess
from pathlib import Path

SIZE = "size"
MOST_SECONDS = 600
"""A tree that takes longer is not counted, and is tried again when the backend is opened the next time."""

# The lock: any number of our processes may see that nobody has counted yet. The sync: before it, a file that was just
# written has blocks that it will not keep. du looks at names and inodes alone.
_COUNT = f"""
set -e
exec 9>>"$1/{SIZE}.lock"
flock -n 9
sync --file-system -- "$1"
bytes=$(timeout {MOST_SECONDS} nice -n 19 ionice -c 3 du -sx --block-size=1 -- "$1")
echo "$bytes" | cut -f 1 >"$1/{SIZE}.draft"
mv -- "$1/{SIZE}.draft" "$1/{SIZE}"
"""


def begin_to_count(place: Path) -> None:
    """Start to count the disk at `place`, and wait for nothing. Harmless while it is being counted already."""
    subprocess.run(
        ["setsid", "--fork", "sh", "-c", _COUNT, "sh", str(place)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def read_size(place: Path) -> int | None:
    """Return the bytes that were counted; None as long as they are not."""
    try:
        return int((place / SIZE).read_text())
    except (OSError, ValueError):
        return None
