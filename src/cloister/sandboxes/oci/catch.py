"""What catches programs that ignore the proxy, inside a sandbox's network namespace: two routes and a few rules.

The routes make every address a local one, so nothing has a way out, and the rules lead TCP and DNS for other
addresses than loopback to listeners of ours. No listener can do that without rules: one at 0.0.0.0:443 would take
the port from the project itself. libnftables is called in this process, because to start `nft` takes ten times as long.
"""

import ctypes
import os
import socket
import struct
import threading
from collections.abc import Callable

from cloister.model.sandbox import NAMES_PORT, TRANSPARENT_PORT

_LIBRARY = "libnftables.so.1"
_ANY_PUBLIC_ADDRESS = ("1.1.1.1", 9)

# linux/netlink.h and linux/rtnetlink.h
_MESSAGE = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HHi")
_ATTRIBUTE_HEAD = struct.Struct("=HH")
_RTM_NEWROUTE = 24
_REQUEST_ACK_CREATE = 0x1 | 0x4 | 0x400
_RT_TABLE_LOCAL = 255
_RTPROT_STATIC = 4
_RT_SCOPE_HOST = 254
_RTN_LOCAL = 2
_RTA_OIF = 4
_RTA_PREFSRC = 7
_LOOPBACK_INDEX = 1

# Connections within loopback are the project's own: they are neither led elsewhere nor tracked (which costs time).
# Those of our listeners must be tracked, since a caught client may have a loopback address itself.
_RULES = f"""
table inet cloister {{
  chain own {{
    type filter hook output priority raw;
    th sport {{ {NAMES_PORT}, {TRANSPARENT_PORT} }} return
    th dport {{ {NAMES_PORT}, {TRANSPARENT_PORT} }} return
    ip daddr 127.0.0.0/8 notrack
    ip6 daddr ::1 notrack
  }}
  chain caught {{
    type nat hook output priority -100;
    ip daddr 127.0.0.0/8 return
    ip6 daddr ::1 return
    meta l4proto {{ tcp, udp }} th dport {NAMES_PORT} redirect to :{NAMES_PORT}
    meta l4proto tcp redirect to :{TRANSPARENT_PORT}
  }}
  chain others {{
    type filter hook output priority filter;
    ip daddr 127.0.0.0/8 accept
    ip6 daddr ::1 accept
    ct state established accept
    meta l4proto {{ icmp, ipv6-icmp }} drop
    reject with icmpx admin-prohibited
  }}
}}
"""

_one_at_a_time = threading.Lock()
_MOST_DESCRIPTORS = 960
"""Beyond them, what other threads open meanwhile could bring the library's own above 1023; see `_in_child`."""


def catch_everything() -> str:
    """Set the rules and the routes in this thread's namespace. Return why, with nothing changed, the host cannot.

    Without libnftables, or without nft's nat in the kernel, programs have to use the proxy. Empty when all is set.
    OSError when the routes cannot be made.
    """
    if complaint := _set_rules():
        return complaint
    for family in (socket.AF_INET, socket.AF_INET6):
        _make_all_local(family)
    return ""


def is_caught() -> bool:
    """Whether `catch_everything` was done in this thread's namespace: then every address has a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_ANY_PUBLIC_ADDRESS)  # sends nothing
        except OSError:
            return False
    return True


def _set_rules() -> str:
    """Run one transaction, and return why it failed; the library is not said to be safe in several threads."""
    try:
        nft = ctypes.CDLL(_LIBRARY)
    except OSError:
        return f"{_LIBRARY} is not installed"
    nft.nft_ctx_new.argtypes, nft.nft_ctx_new.restype = [ctypes.c_uint32], ctypes.c_void_p
    nft.nft_ctx_buffer_error.argtypes = nft.nft_ctx_free.argtypes = [ctypes.c_void_p]
    nft.nft_ctx_get_error_buffer.argtypes, nft.nft_ctx_get_error_buffer.restype = [ctypes.c_void_p], ctypes.c_char_p
    nft.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    with _one_at_a_time:
        return _run_rules(nft) if _next_descriptor() < _MOST_DESCRIPTORS else _in_child(lambda: _run_rules(nft))


def _run_rules(nft: ctypes.CDLL) -> str:
    context = nft.nft_ctx_new(0)
    if not context:
        return f"{_LIBRARY} cannot be used"
    try:
        nft.nft_ctx_buffer_error(context)  # or it would print them
        if nft.nft_run_cmd_from_buffer(context, _RULES.encode()) == 0:
            return ""
        words = (nft.nft_ctx_get_error_buffer(context) or b"").decode(errors="replace").strip()
        return words.splitlines()[0] if words else "the kernel took no rules of nftables"
    finally:
        nft.nft_ctx_free(context)


def _next_descriptor() -> int:
    descriptor = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.close(descriptor)
    return descriptor


def _in_child(run: Callable[[], str]) -> str:
    """Return what `run` returns in a copy of this process that has given its descriptors back, in the same namespace.

    The library waits for its socket by select(2), and the C library ends the whole process when that is above 1023, as
    it is where a hundred sandboxes are.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.closerange(3, writing)
            os.write(writing, run().encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        said = answer.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return said if status == 0 else "the rules could not be set in a process of their own"


def _make_all_local(family: int) -> None:
    """Do as `ip route add local 0.0.0.0/0 dev lo src 127.0.0.1` (rtnetlink(7))."""
    route = _ROUTE.pack(family, 0, 0, 0, _RT_TABLE_LOCAL, _RTPROT_STATIC, _RT_SCOPE_HOST, _RTN_LOCAL, 0)
    route += _ATTRIBUTE.pack(_ATTRIBUTE.size, _RTA_OIF, _LOOPBACK_INDEX)
    # A program that asks which address it would be seen from (Ray does) must not be told the one that it asked about.
    own = socket.inet_pton(family, "127.0.0.1" if family == socket.AF_INET else "::1")
    route += _ATTRIBUTE_HEAD.pack(_ATTRIBUTE_HEAD.size + len(own), _RTA_PREFSRC) + own
    head = _MESSAGE.pack(_MESSAGE.size + len(route), _RTM_NEWROUTE, _REQUEST_ACK_CREATE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.send(head + route)
        (result,) = struct.unpack_from("=i", kernel.recv(4096), _MESSAGE.size)
    if result != 0:
        raise OSError(-result, os.strerror(-result))
