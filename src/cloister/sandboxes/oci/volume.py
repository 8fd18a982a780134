"""Volumes: a file system of its own for what a sandbox writes, so that the kernel holds it to a size.

A volume is a directory with the file that the file system is in, and the place where that is mounted from the making to
the end. None lasts longer than a boot: what shall, is copied out of it.
"""

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cloister.errors import DiskFullError, HostError, SandboxError, TaskFailedError
from cloister.model.environment import Limits
from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.boot import boot_id
from cloister.sandboxes.oci.loop import abandon, copy_sparse, make_file_system, mount_file

_FILE = "image"
_MOUNTED = "fs"
_TRIED = "tried"
_TEMPLATE = "template-1"
"""Counted up when templates are made otherwise."""
_TRIAL = Limits(disk_bytes=16 * 2**20, inodes=1000)
_BLOCK = 4096
_INODE = 256
_PASSING = {errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""No reason to do without: whoever needs one then is told."""
_LITTLE_BYTES = 64 * 2**20
SHARE_LEFT = 0.01
"""Of blocks or inodes; a program that was refused some has seldom taken the very last."""


class Volumes:
    """Makes volumes out of templates, one for each size that was ever asked for, below `place`."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def find_error(self) -> str:
        """Say why no volume can ever be made here; empty when one can. Tried once in a boot, until it succeeds."""
        tried = self._place / _TRIED
        with suppress(OSError):
            if tried.read_text() == boot_id():
                return ""
        try:
            self._place.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._try()
            tried.write_text(boot_id())
        except OSError as error:
            if error.errno in _PASSING:
                return ""
            return f"{error.strerror}: {error.filename}" if error.filename else f"{error.strerror}"
        return ""

    def make(self, place: Path, limits: Limits) -> None:
        """Make an empty volume at `place`, mounted. HostError when it cannot be done."""
        try:
            place.mkdir(parents=True)
            mounted = mounted_at(place)
            mounted.mkdir()
            copy_sparse(self._template(limits), place / _FILE)
            mount_file(place / _FILE, mounted)
        except OSError as error:
            kind = DiskFullError if error.errno == errno.ENOSPC else HostError
            raise kind(f"no file system could be made for a sandbox: {error}", hint="cloister doctor") from error

    def _template(self, limits: Limits) -> Path:
        size_bytes, inodes = _size_for(limits, _capacity_of(self._place))
        template = self._place / f"{_TEMPLATE}-{size_bytes}-{inodes}"
        if not template.exists():
            draft = template.with_name(f"{secrets.token_hex(4)}.draft")
            try:
                make_file_system(draft, size_bytes=size_bytes, inodes=inodes)
                draft.rename(template)
            finally:
                draft.unlink(missing_ok=True)
        return template

    def _try(self) -> None:
        with tempfile.TemporaryDirectory(dir=self._place) as folder:
            file, target = Path(folder) / _FILE, Path(folder) / _MOUNTED
            target.mkdir()
            copy_sparse(self._template(_TRIAL), file)
            mount_file(file, target)
            syscalls.unmount_all(str(target))


def mounted_at(place: Path) -> Path:
    """Return where the file system of the volume at `place` is to be found."""
    return place / _MOUNTED


def give_up(place: Path) -> None:
    """Stop the volume at `place` and free its space, whoever has it mounted. Harmless without one.

    Not of one that hardly anything was written to: the kernel tells each stop to the operator, as if something had
    failed, and the unmount may as well write that out.
    """
    with suppress(OSError):
        space = os.statvfs(mounted_at(place))
        if (space.f_blocks - space.f_bfree) * space.f_frsize > _LITTLE_BYTES:
            abandon(place / _FILE, mounted_at(place))


def used_up(place: Path) -> str | None:
    """Name the limit that the volume at `place` is at; None when there is room, or no volume."""
    try:
        space = os.statvfs(mounted_at(place))
    except OSError:
        return None
    if space.f_bavail < space.f_blocks * SHARE_LEFT:
        return "limits.disk"
    return "limits.inodes" if space.f_favail < space.f_files * SHARE_LEFT else None


@contextmanager
def told_when_full(place: Path) -> Iterator[None]:
    """Let what fails because the volume at `place` is full be a TaskFailedError that says so."""
    try:
        yield
    except (OSError, SandboxError) as error:
        limit = used_up(place)
        if limit is None:
            raise
        raise TaskFailedError(f"the sandbox's disk is full: all that {limit} allows was used up") from error


def check_writes(root: Path) -> None:
    """Raise DiskFullError when the host lost a write to the volume since `root`, the overlay above it, was mounted.

    Syncs nothing: a volatile overlay only says whether a write failed.
    """
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(directory)
    except OSError as error:
        raise DiskFullError(
            "the host's disk was full, or failed, while the sandbox wrote to its own", hint="cloister doctor"
        ) from error
    finally:
        os.close(directory)


def find_volume_error(folder: Path) -> str:
    """Say why no volume can be made below `folder`; empty when one can."""
    try:
        with tempfile.TemporaryDirectory(prefix=".cloister-trial-", dir=folder) as trial:
            return Volumes(Path(trial)).find_error()
    except OSError as error:
        return f"{error.strerror}: {error.filename}"


def _size_for(limits: Limits, capacity: int) -> tuple[int, int]:
    """Return bytes and inodes of a file system that has room for `limits` beside its own tables.

    More than the host's has blocks for is never needed, and ext4 has no more inodes than blocks.
    """
    usable = min(limits.disk_bytes, capacity)
    inodes = min(limits.inodes, usable // _BLOCK)
    tables = inodes * _INODE
    return (usable + tables) // _BLOCK * _BLOCK, inodes


def _capacity_of(place: Path) -> int:
    space = os.statvfs(place)
    return space.f_blocks * space.f_frsize
