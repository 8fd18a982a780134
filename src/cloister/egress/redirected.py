"""Where a connection that the kernel led to us was meant to go."""

import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from cloister.egress.addresses import Address
from cloister.model.asker import Connection

_SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h; IP6T_SO_ORIGINAL_DST has the same number
_SOCKADDR_IN = struct.Struct("!2xH4s8x")
_SOCKADDR_IN6 = struct.Struct("!2xH4x16s4x")


def original_destination(connection: socket.socket) -> tuple[Address, int]:
    """Return the address and port that the peer connected to. OSError when the kernel keeps no account of that."""
    if connection.family == socket.AF_INET6:
        port, packed = _SOCKADDR_IN6.unpack(
            connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, _SOCKADDR_IN6.size)
        )
        return IPv6Address(packed), port
    port, packed = _SOCKADDR_IN.unpack(connection.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, _SOCKADDR_IN.size))
    return IPv4Address(packed), port


def own_address(listener: socket.socket) -> tuple[str, int] | None:
    """Return the address of all that comes to a listener, when it has one of its own."""
    address, port, *_ = listener.getsockname()
    return None if ip_address(address).is_unspecified else (address, port)


def seen_by_peer(
    connection: socket.socket, source: str, source_port: int, *, own: tuple[str, int] | None, redirected: bool
) -> Connection:
    """Return a connection as its peer at that address has it: when it was redirected, it leads somewhere else.

    `own` is of `own_address`.
    """
    if redirected:
        with suppress(OSError):  # the kernel keeps no account of it
            address, port = original_destination(connection)
            return Connection(source, source_port, str(address), port)
    target, target_port, *_ = own or connection.getsockname()
    return Connection(source, source_port, target, target_port)
