"""Overlay mounts: a stack of read-only layers and one that is written to."""

from collections.abc import Sequence
from pathlib import Path

from cloister.errors import HostError
from cloister.sandboxes.oci import syscalls

# No following of redirects or metacopies, so a layer cannot point at another's files (CVE-2023-0386 was
# one such way). `volatile`: no syncs on the sandbox's behalf; its disk is worthless after a crash anyway,
# and a snapshot is synced by us.
_OPTIONS = "metacopy=off,redirect_dir=nofollow,index=off,xino=off"
_LONGEST_OPTIONS = 4095
"""mount(2) takes at most one page."""


def mount_overlay(target: Path, *, lowers: Sequence[Path], upper: Path | None = None, work: Path | None = None) -> None:
    """Mount `upper` above `lowers` (topmost first) at `target`, without devices and setuid programs.

    `work` must be empty and never have been used before, on the file system of `upper`. Without both, nothing
    can be written.
    """
    paths = [*lowers, *filter(None, (upper, work))]
    if any(sign in str(path) for path in paths for sign in ":,\\"):
        raise HostError(f"the state directory's path must not contain a colon, comma or backslash: {target}")
    writable = f",upperdir={upper},workdir={work},volatile" if upper else ""
    options = f"lowerdir={':'.join(map(str, lowers))}{writable},{_OPTIONS}"
    if len(options) > _LONGEST_OPTIONS:
        raise HostError(f"a disk of {len(lowers)} layers is too deep to be mounted at {target}")
    syscalls.mount("cloister", str(target), "overlay", syscalls.MS_NOSUID | syscalls.MS_NODEV, options)
