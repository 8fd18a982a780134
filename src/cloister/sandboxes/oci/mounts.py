"""What is mounted, as the kernel says it."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

_TABLE = Path("/proc/self/mountinfo")
_TARGET = 4
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def mounts_below(place: Path) -> Sequence[str]:
    """Return the mount points below `place`, the innermost first. No link counts, neither below it nor in its place.

    What a sandbox wrote may have been put there: followed, a link would name mounts of the host, or of others.
    """
    start = os.fsencode(place.parent.resolve() / place.name) + b"/"
    targets = (_decoded(line.split(b" ")[_TARGET]) for line in _TABLE.read_bytes().splitlines())
    return [os.fsdecode(target) for target in targets if target.startswith(start)][::-1]


def _decoded(field: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field)
