"""Which process of a sandbox holds a TCP connection: socket, inode, file descriptor, command line."""

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from itertools import islice
from pathlib import Path

from cloister.model.asker import Asker, Connection
from cloister.sandboxes.oci import cgroup, network

_MOST_LINKS = 4096
_LONGEST_COMMAND_BYTES = 16 * 1024

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h; sock_diag(7)
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = (0xFFFFFFFF, 0xFFFFFFFF)
_TCP_LISTEN = 10
_MESSAGE = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_ENDS = struct.Struct("!HH16s16s")
_INTERFACE_AND_COOKIE = struct.Struct("=III")
_ANSWER = struct.Struct(f"=BBxx{_ENDS.size + _INTERFACE_AND_COOKIE.size}s16xI")
_ANSWER_SECONDS = 1.0


def find_owner(sandbox: str, namespace: Path, connection: Connection) -> Asker | None:
    """Return who holds the sandbox's end of a connection, None when it is gone. Blocks; OSError when we may not look.

    Of several that share it, the one with the lowest number, which mostly is the one that opened it.
    Looks at so many descriptors and no more: a sandbox that has more keeps some of its askers to itself.
    """
    inode = _find_inode(namespace, connection)
    return _find_holder(cgroup.members_of(f"{sandbox}."), inode) if inode else None


def _find_inode(namespace: Path, connection: Connection) -> int | None:
    with network.in_namespace(namespace, _open_diagnosis) as diagnosis:
        diagnosis.settimeout(_ANSWER_SECONDS)
        diagnosis.send(request_of(connection))
        return inode_in(diagnosis.recv(8192))


def _open_diagnosis() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def request_of(connection: Connection) -> bytes:
    """Return the question for exactly one TCP socket, which the kernel looks up without walking its table."""
    source, target = ip_address(connection.source), ip_address(connection.target)
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    ends = _ENDS.pack(connection.source_port, connection.target_port, source.packed, target.packed)
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES) + ends + _INTERFACE_AND_COOKIE.pack(0, *_NO_COOKIE)
    return _MESSAGE.pack(_MESSAGE.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0) + body


def inode_in(answer: bytes) -> int | None:
    """Return the socket's inode; None when there is none, or it is one that listens at the same port."""
    _, kind, *_ = _MESSAGE.unpack_from(answer)
    if kind != _SOCK_DIAG_BY_FAMILY:
        return None  # an error: no such socket
    _, state, _, inode = _ANSWER.unpack_from(answer, _MESSAGE.size)
    return int(inode) or None if state != _TCP_LISTEN else None


def _find_holder(pids: Iterable[int], inode: int) -> Asker | None:
    wanted, left = f"socket:[{inode}]", _MOST_LINKS
    for pid in pids:
        with suppress(OSError), _opened(f"/proc/{pid}", os.O_PATH | os.O_DIRECTORY) as process:  # it may end meanwhile
            for link in islice(_links(process), left):
                if link == wanted:
                    return _describe(process)
                left -= 1
    return None


def _links(process: int) -> Iterator[str]:
    with _opened("fd", os.O_RDONLY | os.O_DIRECTORY, at=process) as folder, os.scandir(folder) as entries:
        for entry in entries:
            try:
                yield os.readlink(entry.name, dir_fd=folder)
            except FileNotFoundError:
                continue  # closed meanwhile


def _describe(process: int) -> Asker | None:
    """Return who that is. The descriptor is of the process that holds the socket: another with its number is not it."""
    with _opened("cmdline", os.O_RDONLY, at=process) as file:
        command = os.read(file, _LONGEST_COMMAND_BYTES)
    with _opened("status", os.O_RDONLY, at=process) as file:
        status = os.read(file, _LONGEST_COMMAND_BYTES).decode(errors="replace")
    return asker_of(command, status)


def asker_of(command: bytes, status: str) -> Asker | None:
    """Return what /proc/PID/cmdline and /proc/PID/status say; None when the process has none, as the dead have."""
    pids = next((line.split() for line in status.splitlines() if line.startswith("NSpid:")), None)
    if not command or pids is None:
        return None
    text = command.decode(errors="replace").rstrip("\0").replace("\0", " ")
    return Asker(pid=int(pids[-1]), command=text)


@contextmanager
def _opened(path: str, flags: int, *, at: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, dir_fd=at)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
