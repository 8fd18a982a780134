"""Packs a tree that a sandbox wrote as a layer of an OCI image: the same tree makes the same bytes."""

import os
import stat
import tarfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cloister.errors import SandboxError
from cloister.sandboxes.oci.bundle import UID_BASE
from cloister.sandboxes.oci.image_layer import DEEPEST, LONGEST_PATH, Allowance
from cloister.sandboxes.oci.image_tree import UID_RANGE

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OVERLAY = "trusted.overlay."
_OPAQUE_ATTRIBUTE = f"{_OVERLAY}opaque"
_HARMLESS = frozenset(f"{_OVERLAY}{name}" for name in ("opaque", "origin", "impure", "nlink", "uuid"))
"""What overlayfs notes for itself; the others let a layer show another one's files."""


def pack_layer(
    root: Path,
    archive: IO[bytes],
    *,
    without: Collection[str] = (),
    allowance: Allowance,
    check: Callable[[], None],
) -> int:
    """Write the tree at `root`, an image's or a layer of overlayfs, as a tar archive; return the number of entries.

    Owners become those inside; what overlayfs hides is hidden by whiteouts (OCI image layout, "Whiteouts"); devices,
    pipes and sockets are not there; nor are the paths `without`, nor extended attributes. No link is followed.
    `check` is called before each entry, and may raise. SandboxError names a path that no image can hold.
    """
    with tarfile.TarFile(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8") as packed:
        packer = _Packer(packed, frozenset(without), allowance, check)
        with _opened(root, _FOLDER) as folder:
            packer.pack_folder(folder, "")
    return packer.entries


class _Packer:
    """Goes once through a tree, each folder's names in the order of their bytes."""

    def __init__(
        self, archive: tarfile.TarFile, without: frozenset[str], allowance: Allowance, check: Callable[[], None]
    ) -> None:
        self._archive = archive
        self._without = without
        self._allowance = allowance
        self._check = check
        self._first_names: dict[int, str] = {}
        self.entries = 0

    def pack_folder(self, folder: int, path: str) -> None:
        """Pack what lies in a folder; `path` is empty or ends with a slash."""
        for name in sorted(os.listdir(folder), key=os.fsencode):
            if path + name not in self._without:
                self._check()
                self._pack(folder, name, path + name)

    def _pack(self, folder: int, name: str, path: str) -> None:
        if name.startswith(_WHITEOUT):
            raise SandboxError(f"{path!a} cannot be in an image: a name like that hides another file")
        if path.count("/") >= DEEPEST or len(os.fsencode(path)) > LONGEST_PATH:
            raise SandboxError(f"{path[:80]!a}... lies too deep for an image")
        status = os.lstat(name, dir_fd=folder)
        if stat.S_ISDIR(status.st_mode):
            self._pack_directory(folder, name, path)
        elif stat.S_ISREG(status.st_mode):
            self._pack_file(folder, name, path)
        elif stat.S_ISLNK(status.st_mode):
            entry = _entry(path, tarfile.SYMTYPE, status)
            entry.linkname = os.readlink(name, dir_fd=folder)
            self._add(entry)
        else:  # overlayfs's own whiteout; for others too, or a file below one would come back
            self._add(_empty(f"{path.removesuffix(name)}{_WHITEOUT}{name}"))

    def _pack_directory(self, folder: int, name: str, path: str) -> None:
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            self._add(_entry(path, tarfile.DIRTYPE, os.fstat(inner)))
            if _OPAQUE_ATTRIBUTE in _overlay_attributes(inner, path):
                self._add(_empty(f"{path}/{_OPAQUE}"))
            self.pack_folder(inner, f"{path}/")
        finally:
            os.close(inner)

    def _pack_file(self, folder: int, name: str, path: str) -> None:
        with _opened(name, _FILE, folder) as descriptor:
            status = os.fstat(descriptor)
            _overlay_attributes(descriptor, path)
            first_name = self._first_names.get(status.st_ino)
            if first_name is not None:
                entry = _entry(path, tarfile.LNKTYPE, status)
                entry.linkname = first_name
                self._add(entry)
                return
            if status.st_nlink > 1:
                self._first_names[status.st_ino] = path
            entry = _entry(path, tarfile.REGTYPE, status)
            entry.size = status.st_size
            with open(descriptor, "rb", closefd=False) as content:
                self._add(entry, content)

    def _add(self, entry: tarfile.TarInfo, content: IO[bytes] | None = None) -> None:
        self.entries += 1
        self._allowance.entries -= 1
        self._allowance.bytes -= entry.size
        if self._allowance.entries < 0 or self._allowance.bytes < 0:
            raise SandboxError("the snapshot is too large to be pulled again")
        self._archive.addfile(entry, content)
        self._archive.members = []  # type: ignore[attr-defined]  # it would keep them all


def _entry(path: str, kind: bytes, status: os.stat_result) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type = kind
    entry.mode = stat.S_IMODE(status.st_mode)
    entry.uid, entry.gid = status.st_uid - UID_BASE, status.st_gid - UID_BASE
    entry.mtime = max(int(status.st_mtime), 0)
    if not (0 <= entry.uid < UID_RANGE and 0 <= entry.gid < UID_RANGE):
        raise SandboxError(f"{path!a} belongs to nobody inside a container")
    return entry


def _empty(path: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode = 0o644
    return entry


def _overlay_attributes(descriptor: int, path: str) -> list[str]:
    """Return overlayfs's own. SandboxError for those that we never let it make."""
    found = [name for name in os.listxattr(descriptor) if name.startswith(_OVERLAY)]
    if not _HARMLESS.issuperset(found) or (
        _OPAQUE_ATTRIBUTE in found and os.getxattr(descriptor, _OPAQUE_ATTRIBUTE) != b"y"
    ):
        raise SandboxError(f"{path!a} has attributes of overlayfs that no snapshot of ours has: {', '.join(found)}")
    return found


@contextmanager
def _opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
