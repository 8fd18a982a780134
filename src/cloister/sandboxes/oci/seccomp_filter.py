"""The profile of `seccomp` as the program that the kernel runs, made once by libseccomp and not for every container."""

import base64
import ctypes
import errno
import os
from functools import cache
from typing import Any

from cloister.sandboxes.oci.seccomp import profile

_LIBRARY = "libseccomp.so.2"

# seccomp.h of libseccomp
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_OPTIMIZE = 8
_BINARY_TREE = 2
_COMPARISONS = {"SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


class _Argument(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("one", ctypes.c_uint64),
        ("two", ctypes.c_uint64),
    )


@cache
def annotations() -> dict[str, str]:
    """Return the annotation that spares crun compiling the profile (crun(1), `run.oci.seccomp_bpf_data`).

    A runtime that does not know it compiles the profile itself, and so does crun where there is no libseccomp here.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return {}
    return {"run.oci.seccomp_bpf_data": base64.b64encode(_compile(library, profile())).decode()}


def _compile(library: ctypes.CDLL, profile: dict[str, Any]) -> bytes:
    """Return the filter as an array of `struct sock_filter`."""
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(_ERRNO | profile["defaultErrnoRet"]))
    try:
        _check(library.seccomp_attr_set(context, _OPTIMIZE, _BINARY_TREE))
        for rule in profile["syscalls"]:
            _add_rule(library, context, rule)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _add_rule(library: ctypes.CDLL, context: ctypes.c_void_p, rule: dict[str, Any]) -> None:
    conditions = [
        _Argument(given["index"], _COMPARISONS[given["op"]], given["value"], given["valueTwo"])
        for given in rule.get("args", ())
    ]
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # else this library, or this machine, does not know it: it stays forbidden
            array = (_Argument * max(1, len(conditions)))(*conditions)
            _check(library.seccomp_rule_add_array(context, _ALLOW, number, len(conditions), array))


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    file = os.memfd_create("seccomp")
    try:
        _check(library.seccomp_export_bpf(context, file))
        return os.pread(file, os.fstat(file).st_size, 0)
    finally:
        os.close(file)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, f"libseccomp: {errno.errorcode.get(-result, result)}")
