"""Giving up everything that the egress process does not need, before it reads the first hostile byte."""

import ctypes
import os
import resource
import signal

# linux/prctl.h and linux/capability.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_MOST_CAPABILITIES = 64


def lock_down(uid: int, gid: int) -> None:
    """Become `uid` and `gid` without groups or capabilities, for good, and die with the parent.

    When we are not root there is no other user to become, and the rest is done all the same. Everything
    must be imported before: the modules may lie where only root can read. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _limit_resources()
    if os.geteuid() == 0:
        _drop_bounding_set(libc)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(libc, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _clear_capabilities(libc)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    # Both are reset by a change of user, so they come last (prctl(2)).
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    _prctl(libc, _PR_SET_PDEATHSIG, signal.SIGKILL)


def _limit_resources() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _drop_bounding_set(libc: ctypes.CDLL) -> None:
    for capability in range(_MOST_CAPABILITIES):
        if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            return  # EINVAL: the kernel knows no more


def _clear_capabilities(libc: ctypes.CDLL) -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _check(libc.capset(header, nothing))


def _prctl(libc: ctypes.CDLL, option: int, value: int) -> None:
    _check(libc.prctl(option, value, 0, 0, 0))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
