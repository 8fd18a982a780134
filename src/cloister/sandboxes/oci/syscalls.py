"""The system calls that Python 3.11 does not offer, as functions that raise OSError."""

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_READ_ONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_REMOUNT_BIND_READ_ONLY = 0x1 | 0x20 | 0x1000
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2
UMOUNT_NOFOLLOW = 0x8

_OPENAT2 = 437
_RESOLVE_NO_XDEV = 0x1
_RESOLVE_NO_MAGICLINKS = 0x2
_RESOLVE_IN_ROOT = 0x10

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    """linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()), target)


def unmount_all(target: str) -> None:
    """umount2(2) until nothing is mounted at `target`; lazily, so that the name is free at once. Harmless twice."""
    while _libc.umount2(target.encode(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0:
        pass
    number = ctypes.get_errno()
    if number not in (errno.EINVAL, errno.ENOENT):
        raise OSError(number, os.strerror(number), target)


def syncfs(descriptor: int) -> None:
    """syncfs(2)."""
    _check(_libc.syncfs(descriptor), "syncfs")


def unshare(flags: int) -> None:
    """unshare(2), for the calling thread."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """setns(2), for the calling thread."""
    _check(_libc.setns(descriptor, kind), "setns")


def open_in_root(root: int, path: str, flags: int) -> int:
    """openat2(2): open `path`, whose links and `..` are looked up as if `root` were the root directory."""
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_XDEV)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    opened = _libc.syscall(ctypes.c_long(_OPENAT2), ctypes.c_long(root), os.fsencode(path), ctypes.byref(how), size)
    _check(min(opened, 0), path)
    return int(opened)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
