"""From a tree that a package manager made to an image's root file system: cleaned, shifted, measured."""

import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import SandboxError

UID_RANGE = 65_536
"""How many user and group ids a container has."""

# The runtime mounts over these; what a build left in them is never part of an image.
_MOUNT_POINTS = ("dev", "proc", "sys", "run", "tmp", "var/tmp")

# Facts of the host or of the moment of building, and caches that can be made again.
_DROPPED_FILES = (
    "etc/resolv.conf",
    "etc/hostname",
    "etc/.pwd.lock",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/lib/dbus/machine-id",
    "var/cache/ldconfig/aux-cache",
)
_DROPPED_PATTERNS = (
    "etc/ssh/ssh_host_*",
    "var/log/**/*",
    "var/cache/apt/**/*",
    "var/lib/apt/lists/**/*",
    "var/cache/debconf/*-old",
)


_FIELD = re.compile(r"(?:Package|Status|Version): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedTree:
    """What sealing found out about a tree."""

    digest: str
    """SHA-256 of the manifest of all paths: kind, mode, owner, and content or target. Times are not in it."""
    size_bytes: int


def clean_tree(root: Path) -> None:
    """Remove what belongs to the build or its host, and leave what every container needs in place."""
    for name in _MOUNT_POINTS:
        _empty(root / name)
    for name in _DROPPED_FILES:
        (root / name).unlink(missing_ok=True)
    for pattern in _DROPPED_PATTERNS:
        for path in root.glob(pattern):
            if not path.is_dir() or path.is_symlink():
                path.unlink()
    # Empty, not absent: systemd's machine-id(5) reads that as "not yet set", and a bind mount needs a target.
    (root / "etc/machine-id").write_bytes(b"")


def installed_packages(root: Path) -> dict[str, str]:
    """Return the installed packages and their versions, sorted, from dpkg's database in the tree."""
    packages = {}
    for paragraph in (root / "var/lib/dpkg/status").read_text().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if _FIELD.match(line))
        if fields.get("Status", "").endswith(" installed"):
            packages[fields["Package"]] = fields["Version"]
    return dict(sorted(packages.items()))


def seal_tree(root: Path, *, uid_base: int) -> SealedTree:
    """Shift every owner by `uid_base` and compute the digest, in one walk.

    Raises SandboxError for an owner outside the container's range, or a kind of file that no image may hold.
    """
    manifest = hashlib.sha256()
    first_names: dict[int, bytes] = {}
    size_bytes = 0
    for path in _walk(root):
        status = path.lstat()
        relative = os.fsencode(path.relative_to(root))
        first_name = first_names.get(status.st_ino)
        if first_name is not None:
            _add(manifest, relative, b"hard link", first_name)
            continue
        _add(manifest, relative, _attributes(status), _content(path, status))
        _shift(path, status, uid_base)
        if stat.S_ISREG(status.st_mode):
            size_bytes += status.st_size
            if status.st_nlink > 1:
                first_names[status.st_ino] = relative
    return SealedTree(digest=manifest.hexdigest(), size_bytes=size_bytes)


def _walk(root: Path) -> Iterator[Path]:
    """Yield the root and everything below it, in an order that depends on names alone."""
    yield root
    for folder, directories, files in os.walk(root, onerror=_raise):
        directories.sort()
        for name in sorted(directories + files):
            yield Path(folder, name)


def _raise(error: OSError) -> None:
    raise error


def _add(manifest: "hashlib._Hash", *parts: bytes) -> None:
    # Lengths first, so that no two different trees can have the same manifest.
    for part in parts:
        manifest.update(len(part).to_bytes(8, "big") + part)


def _attributes(status: os.stat_result) -> bytes:
    return f"{status.st_mode:o} {status.st_uid} {status.st_gid}".encode()


def _content(path: Path, status: os.stat_result) -> bytes:
    if stat.S_ISREG(status.st_mode):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    if stat.S_ISLNK(status.st_mode):
        return os.fsencode(path.readlink())
    if stat.S_ISDIR(status.st_mode):
        return b""
    raise SandboxError(f"{path} is a device, a pipe or a socket, which an image cannot hold")


def _shift(path: Path, status: os.stat_result, uid_base: int) -> None:
    if max(status.st_uid, status.st_gid) >= UID_RANGE:
        raise SandboxError(
            f"{path} belongs to {status.st_uid}:{status.st_gid}, beyond the {UID_RANGE} ids of a container"
        )
    os.lchown(path, uid_base + status.st_uid, uid_base + status.st_gid)
    if not stat.S_ISLNK(status.st_mode):
        path.chmod(stat.S_IMODE(status.st_mode))  # chown(2) clears the set-user-id and set-group-id bits


def _empty(folder: Path) -> None:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
