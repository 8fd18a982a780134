"""Makes system calls by number and prints, as JSON, the errno of each: 0 where it did something.

Arguments are such that the call does nothing even where it is allowed, so this may run outside a sandbox too.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import signal
import socket

libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"

CLONE_NEWNS, CLONE_NEWUSER, CLONE_FS, CLONE_THREAD = 0x20000, 0x10000000, 0x200, 0x10000
TIOCSTI, TIOCLINUX, HIGH_BIT = 0x5412, 0x541C, 1 << 32
NONE = (0, 0, 0, 0, 0, 0)
BAD = 2**64 - 1

# name: number on x86-64, number on aarch64, arguments
CALLS = {
    "mount": (165, 40, NONE),
    "umount2": (166, 39, NONE),
    "pivot_root": (155, 41, NONE),
    "fsopen": (430, 430, NONE),
    "fsmount": (432, 432, (BAD, 0, 0)),
    "open_tree": (428, 428, (BAD, 0, 0)),
    "move_mount": (429, 429, (BAD, 0, BAD, 0, 0)),
    "mount_setattr": (442, 442, (BAD, 0, 0, 0, 0)),
    "unshare": (272, 97, (CLONE_NEWUSER | CLONE_THREAD, 0)),
    "setns": (308, 268, (BAD, 0)),
    "clone(CLONE_NEWUSER)": (56, 220, (CLONE_NEWUSER | CLONE_FS, 0, 0, 0, 0)),
    "clone(CLONE_NEWNS)": (56, 220, (CLONE_NEWNS | CLONE_FS, 0, 0, 0, 0)),
    "clone3": (435, 435, NONE),
    "bpf": (321, 280, (BAD, 0, 0)),
    "io_uring_setup": (425, 425, NONE),
    "io_uring_enter": (426, 426, (BAD, 0, 0, 0, 0, 0)),
    "io_uring_register": (427, 427, (BAD, 0, 0, 0)),
    "userfaultfd": (323, 282, (BAD,)),
    "perf_event_open": (298, 241, (0, 0, BAD, BAD, BAD)),
    "keyctl": (250, 219, (BAD, 0, 0, 0, 0)),
    "add_key": (248, 217, NONE),
    "request_key": (249, 218, NONE),
    "kexec_load": (246, 104, (0, 1, 0, BAD)),
    "kexec_file_load": (320, 294, (BAD, BAD, 0, 0, BAD)),
    "init_module": (175, 105, NONE),
    "finit_module": (313, 273, (BAD, 0, 0)),
    "delete_module": (176, 106, NONE),
    "open_by_handle_at": (304, 265, (BAD, 0, 0)),
    "name_to_handle_at": (303, 264, (BAD, 0, 0, 0, 0)),
    "fanotify_init": (300, 262, (BAD, 0)),
    "syslog": (103, 116, (BAD, 0, 0)),
    "quotactl": (179, 60, (BAD, 0, 0, 0)),
    "settimeofday": (170, 170, (1, 1)),
    "clock_settime": (227, 112, (BAD, 0)),
    "swapon": (167, 224, NONE),
    "reboot": (169, 142, NONE),
    "personality(READ_IMPLIES_EXEC)": (135, 92, (0x0400000,)),
    "ioctl(TIOCSTI)": (16, 29, (0, TIOCSTI, 0)),
    "ioctl(TIOCSTI + high bit)": (16, 29, (0, TIOCSTI | HIGH_BIT, 0)),
    "ioctl(TIOCLINUX)": (16, 29, (0, TIOCLINUX, 0)),
    "ioctl(TIOCLINUX + high bit)": (16, 29, (0, TIOCLINUX | HIGH_BIT, 0)),
}
FAMILIES = {
    "AF_VSOCK": 40,
    "AF_ALG": 38,
    "AF_PACKET": 17,
    "AF_KEY": 15,
    "AF_TIPC": 30,
    "AF_BLUETOOTH": 31,
    "AF_XDP": 44,
}


def call(on_intel, on_arm, arguments):
    number = on_arm if ARM else on_intel
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "done"


def open_socket(family):
    try:
        socket.socket(family, socket.SOCK_RAW if family in (15, 17, 31, 44) else socket.SOCK_SEQPACKET).close()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def in_child(action):
    """How a child ends that does this."""
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return signal.Signals(-status).name if status < 0 else f"exit {status}"


def call_as_32_bit():
    """getpid through int 0x80."""
    code = b"\xb8\x14\x00\x00\x00\xcd\x80\xc3"
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()


def trace_a_child():
    """What a debugger does."""
    child = os.fork()
    if child == 0:
        libc.ptrace(0, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(7)
    stopped = os.WIFSTOPPED(os.waitpid(child, 0)[1])
    libc.ptrace(7, child, 0, 0)
    return [stopped, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


print(
    json.dumps(
        {
            "calls": {name: call(*numbers) for name, numbers in CALLS.items()},
            "sockets": {name: open_socket(family) for name, family in FAMILIES.items()},
            "allowed": {
                "ioctl(FIONREAD)": fcntl.ioctl(os.pipe()[0], 0x541B, bytes(4)) == bytes(4),
                "ptrace": trace_a_child(),
                "socket": socket.socket(socket.AF_UNIX).fileno() > 2 and socket.socket(socket.AF_INET6).fileno() > 2,
            },
            "32-bit": in_child(call_as_32_bit) if platform.machine() == "x86_64" else "SIGSYS",
        }
    )
)
