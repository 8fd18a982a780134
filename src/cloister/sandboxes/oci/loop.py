"""File systems in files: an ext4 is made, mounted behind a loop device that goes with the mount, and given up."""

import errno
import fcntl
import os
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

from cloister.sandboxes.oci import syscalls

# linux/loop.h
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
_CONFIG = struct.Struct("<II40xIIII160x16x64x")
"""struct loop_config: descriptor, block size, and of its loop_info64 the four numbers with the flags last."""

# linux/fs.h and ext4.h: stop a file system at once, and write nothing more.
_SHUTDOWN = 0x8004587D
_NOTHING_FLUSHED = 2

_LOOP_MAJOR = 7

_BLOCK = 4096
_FEATURES = "^has_journal,^resize_inode"
_MAKER = "mkfs.ext4"
_MORE_PLACES = "/usr/sbin:/sbin"
# Without `noinit_itable` the kernel would write out the whole inode tables, which no file may ever need.
_OPTIONS = "nodiscard,nobarrier,noinit_itable"


def make_file_system(path: Path, *, size_bytes: int, inodes: int) -> None:
    """Make a sparse file with an empty ext4 in it; no journal, for a crash drops what is in it anyway."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    extended = "lazy_itable_init=1,nodiscard,root_owner=0:0"
    places = f"{os.environ.get('PATH', os.defpath)}:{_MORE_PLACES}"
    options = ["-q", "-F", "-b", f"{_BLOCK}", "-m", "0", "-N", f"{inodes}", "-O", _FEATURES, "-E", extended]
    command = [_MAKER, *options, str(path)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env={"PATH": places}, text=True, check=False
        )
    except FileNotFoundError as error:
        raise OSError(errno.ENOENT, f"{_MAKER} is not installed") from error
    if done.returncode != 0:
        number = errno.ENOSPC if os.strerror(errno.ENOSPC) in done.stderr else errno.EIO
        raise OSError(number, f"{_MAKER}: {done.stderr.strip()}")
    with path.open("rb") as file:
        os.fsync(file.fileno())


def copy_sparse(source_path: Path, path: Path) -> None:
    """Copy the written parts of a sparse file."""
    size = source_path.stat().st_size
    with source_path.open("rb") as source, path.open("xb") as target:
        target.truncate(size)
        place = 0
        while place < size:
            try:
                start = os.lseek(source.fileno(), place, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    return
                raise
            place = os.lseek(source.fileno(), start, os.SEEK_HOLE)
            offset = start
            while offset < place:
                offset += os.copy_file_range(source.fileno(), target.fileno(), place - offset, offset, offset)


def mount_file(path: Path, target: Path, *, read_only: bool = False) -> str:
    """Mount the file system in `path`, and return the name of its loop device, which goes when nothing mounts it."""
    flags = _AUTOCLEAR | _DIRECT_IO | (_READ_ONLY if read_only else 0)
    file = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    try:
        device = _attach(file, flags)
    finally:
        os.close(file)
    try:
        name = Path(f"/proc/self/fd/{device}").readlink()
        mount_flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | (syscalls.MS_READ_ONLY if read_only else 0)
        syscalls.mount(str(name), str(target), "ext4", mount_flags, _OPTIONS)
    finally:
        os.close(device)
    return name.name


def abandon(path: Path, target: Path) -> None:
    """Give up what is mounted at `target` and free what `path` takes; the unmount then has nothing to write.

    Whoever still has it mounted, as any mount namespace made meanwhile, holds no space.
    """
    with suppress(OSError):
        directory = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if _shows(directory, path):
                fcntl.ioctl(directory, _SHUTDOWN, struct.pack("I", _NOTHING_FLUSHED))
                os.truncate(path, 0)
        finally:
            os.close(directory)


def _shows(directory: int, path: Path) -> bool:
    """Whether an open directory lies in the file system in `path`, and not in the host's own, which must never stop."""
    device = os.fstat(directory).st_dev
    if os.major(device) != _LOOP_MAJOR:
        return False
    behind = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/loop/backing_file").read_text()
    return behind.removesuffix("\n") == str(path.resolve(strict=True))


def _attach(file: int, flags: int) -> int:
    """Return a device that shows the file; another process may take a free number before us."""
    while True:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        try:
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
        finally:
            os.close(control)
        device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _LOOP_CONFIGURE, _CONFIG.pack(file, _BLOCK, 0, 0, 0, flags))
        except OSError as error:
            os.close(device)
            if error.errno != errno.EBUSY:
                raise
        else:
            return device
