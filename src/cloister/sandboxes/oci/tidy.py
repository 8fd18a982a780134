"""Takes out of a layer what no two sandboxes may share: identities, keys and seeds of one machine, and dead ends."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_EMPTIED = ("etc/machine-id",)
"""Empty, not absent: machine-id(5) reads that as "not yet set"."""
_REMOVED = (
    *("var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "var/lib/urandom/random-seed", "var/lib/random-seed"),
    *("var/lib/systemd/credential.secret", "root/.rnd"),
)
_HOST_KEYS = ("etc/ssh", "ssh_host_")


def tidy_layer(upper: Path) -> None:
    """Remove them; what lies below in other layers is seen again.

    The layer must not be mounted, and nothing may run on it; no link is followed.
    """
    for path in _EMPTIED:
        if _is_file(upper, path):
            os.truncate(upper / path, 0)
    for path in (*_REMOVED, *_host_keys(upper)):
        if _is_file(upper, path):
            (upper / path).unlink()
    for dead_end in list(_dead_ends(upper)):
        dead_end.unlink()


def _host_keys(upper: Path) -> Iterator[str]:
    folder, prefix = _HOST_KEYS
    if _is_below(upper, folder) and (upper / folder).is_dir():
        yield from (f"{folder}/{entry.name}" for entry in os.scandir(upper / folder) if entry.name.startswith(prefix))


def _is_file(upper: Path, path: str) -> bool:
    with suppress(FileNotFoundError, NotADirectoryError):
        return _is_below(upper, path) and stat.S_ISREG(os.lstat(upper / path).st_mode)
    return False


def _is_below(upper: Path, path: str) -> bool:
    """Whether no folder on the way is a link."""
    parts = path.split("/")
    return not any((upper / "/".join(parts[:count])).is_symlink() for count in range(1, len(parts)))


def _dead_ends(upper: Path) -> Iterator[Path]:
    """Yield sockets, pipes and devices: what they led to is gone. A device 0/0 is overlayfs's mark of a removal."""
    waiting = [upper]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError), os.scandir(folder) as entries:  # a path that is too long for anybody
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(Path(entry.path))
                elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    status = entry.stat(follow_symlinks=False)
                    if not (stat.S_ISCHR(status.st_mode) and status.st_rdev == 0):
                        yield Path(entry.path)
