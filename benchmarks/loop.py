"""Sparse ext4 images behind loop devices, made by ioctl: the other kind of disk that `disk.py` measures."""

import errno
import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path

from cloister.sandboxes.oci import syscalls

# linux/loop.h
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
_CONFIG = struct.Struct("<II40xIIII160x16x64x")
"""struct loop_config: descriptor, block size, and of its loop_info64 the four numbers with the flags last."""

_BLOCK = 4096
_FEATURES = "^has_journal,^resize_inode"


def make_image(path: Path, size_bytes: int) -> None:
    """Make a sparse file with an empty ext4 in it; no journal, for a crash drops the disk anyway."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    options = "lazy_itable_init=1,nodiscard,root_owner=0:0"
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-O", _FEATURES, "-E", options, str(path)], check=True)


def copy_image(template: Path, path: Path) -> None:
    """Copy the written parts of a sparse file."""
    size = template.stat().st_size
    with template.open("rb") as source, path.open("wb") as target:
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


def mount_image(path: Path, target: Path, *, read_only: bool = False) -> str:
    """Mount the image and return the name of its loop device, which goes when nothing mounts it any more."""
    flags = _AUTOCLEAR | _DIRECT_IO | (_READ_ONLY if read_only else 0)
    image = os.open(path, os.O_RDONLY if read_only else os.O_RDWR)
    try:
        device = _configure(image, flags)
    finally:
        os.close(image)
    try:
        name = Path(f"/proc/self/fd/{device}").readlink()
        mount_flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | (1 if read_only else 0)
        syscalls.mount(str(name), str(target), "ext4", mount_flags, "nodiscard,nobarrier")
    finally:
        os.close(device)
    return name.name


def unmount_image(target: Path, device: str) -> None:
    """Unmount, and return when the image is free.

    A mount namespace that was made meanwhile (an OCI runtime starting) holds a copy of the mount, and with it the
    file system. To mount the image again before that is gone would be two writers on one disk.
    """
    syscalls.unmount_all(str(target))
    while Path(f"/sys/block/{device}/loop/backing_file").exists():
        time.sleep(0.0002)


def _configure(image: int, flags: int) -> int:
    """Return a device that shows the image; another process may take a free number before us."""
    while True:
        with open("/dev/loop-control", "rb+", buffering=0) as control:  # noqa: PTH123
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
        device = os.open(f"/dev/loop{number}", os.O_RDWR)
        try:
            fcntl.ioctl(device, _LOOP_CONFIGURE, _CONFIG.pack(image, _BLOCK, 0, 0, 0, flags))
        except OSError as error:
            os.close(device)
            if error.errno != errno.EBUSY:
                raise
        else:
            return device
