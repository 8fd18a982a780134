"""The addresses of this machine's own interfaces, as they are at the moment."""

import ctypes
import fcntl
import socket
import struct
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cloister.egress.addresses import Address

_SIOCGIFCONF = 0x8912
_IFCONF = "iP"
"""struct ifconf: length and address of an array of ifreq (netdevice(7))."""
_IFREQ_BYTES = 40 if struct.calcsize("P") == 8 else 32
_ADDRESS_AT = 16 + 4
"""After the name, and the family and port of a sockaddr_in."""
_MOST_ADDRESSES = 1024


def own_addresses(versions: Collection[int] = (4, 6)) -> frozenset[Address]:
    """Return the addresses of all interfaces, of these versions of IP.

    A system call for version 4, a short file for version 6, at each look-up: an address that the machine got
    a moment ago is its own too.
    """
    return frozenset((*(_own_ipv4() if 4 in versions else ()), *(_own_ipv6() if 6 in versions else ())))


def _own_ipv4() -> list[Address]:
    found = ctypes.create_string_buffer(_MOST_ADDRESSES * _IFREQ_BYTES)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        request = struct.pack(_IFCONF, len(found), ctypes.addressof(found))
        used, _ = struct.unpack(_IFCONF, fcntl.ioctl(asker, _SIOCGIFCONF, request))
    addresses = memoryview(found)[:used].cast("B")
    return [IPv4Address(bytes(addresses[at : at + 4])) for at in range(_ADDRESS_AT, used, _IFREQ_BYTES)]


def _own_ipv6() -> list[Address]:
    table = Path("/proc/net/if_inet6")
    if not table.exists():
        return []  # the kernel has no IPv6
    return [IPv6Address(bytes.fromhex(line.split()[0])) for line in table.read_text().splitlines()]
