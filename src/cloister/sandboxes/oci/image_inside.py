"""Runs programs of a tree in that tree: without a network, without capabilities, without a way out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cloister.sandboxes.oci.build_command import Ended, run_command

INPUTS = "/mnt"
"""Where a program finds what it is handed, read-only."""

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_NAMESPACES = ("--net", "--ipc", "--uts")
# Nothing but the tree is in reach. What a program leaves in it would be part of the image, so that most may not write.
# /proc shows processes alone and cannot be written to: its other files are the kernel's, and we are its root.
_ENTER = """
mount --bind "$0" "$0"
mount -t proc -o ro,nosuid,nodev,noexec,subset=pid proc "$0/proc"
mount -t tmpfs tmpfs "$0/dev"
for device in null zero random urandom; do
    touch "$0/dev/$device"
    mount --bind "/dev/$device" "$0/dev/$device"
done
ln -s /proc/self/fd "$0/dev/fd"
mount -t tmpfs tmpfs "$0/tmp"
if [ -n "$1" ]; then mount --bind -o ro "$1" "$0/mnt"; fi
if [ "$2" = ro ]; then mount -o remount,bind,ro "$0"; fi
tree=$0
shift 2
exec chroot "$tree" "$@"
"""
_POWERLESS = ("/usr/bin/setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--")


async def run_inside(
    root: Path,
    command: Sequence[str],
    *,
    path: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
    inputs: Path | None = None,
    writable: bool = False,
) -> Ended:
    """Run the command as the owner of the tree `root`, with the folders `path` before PATH.

    The tree cannot be written to unless it is `writable`; then only programs of the distribution may run. /tmp is
    empty, and its own. Whatever the command started is gone when this returns or raises.
    """
    own = {"PATH": ":".join([*path, SYSTEM_PATH]), "HOME": "/tmp", "LC_ALL": "C.UTF-8"}
    mode = "rw" if writable else "ro"
    enter = ("/bin/sh", "-ec", _ENTER, str(root), str(inputs or ""), mode, *_POWERLESS)
    assignments = (f"{name}={value}" for name, value in {**own, **(variables or {})}.items())
    return await run_command(
        [*enter, "/usr/bin/env", "-i", "-C", "/", *assignments, *command],
        variables={"PATH": SYSTEM_PATH},
        namespaces=_NAMESPACES,
    )
