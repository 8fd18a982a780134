"""Network namespaces that hold nothing but `lo`, and the sockets that listen in them."""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cloister.errors import SandboxError
from cloister.model.sandbox import PROXY_PORT
from cloister.sandboxes.oci import syscalls

T = TypeVar("T")

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_INTERFACE_REQUEST = struct.Struct("16sh14x")
_BACKLOG = 512


def create_namespace(path: Path) -> tuple[socket.socket, ...]:
    """Make a namespace that `path` keeps alive, and return the proxy's listening sockets in it.

    The namespace belongs to the host's user namespace, so a container's root cannot change it.
    """

    def make() -> tuple[socket.socket, ...]:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        _raise_loopback()
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
        path.touch(mode=0o600)
        syscalls.mount("/proc/thread-self/ns/net", str(path), flags=syscalls.MS_BIND)
        return _listen(PROXY_PORT)

    return _in_thread(make)


def listen_in(path: Path, port: int = PROXY_PORT) -> tuple[socket.socket, ...]:
    """Return new listening sockets at a loopback port, on both families, in a namespace that exists."""

    def enter() -> tuple[socket.socket, ...]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
        finally:
            os.close(descriptor)
        return _listen(port)

    return _in_thread(enter)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = _INTERFACE_REQUEST.pack(b"lo", 0)
        name, flags = _INTERFACE_REQUEST.unpack(fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, _INTERFACE_REQUEST.pack(name, flags | _IFF_UP))


def _listen(port: int) -> tuple[socket.socket, ...]:
    return (
        socket.create_server(("127.0.0.1", port), backlog=_BACKLOG),
        socket.create_server(("::1", port), family=socket.AF_INET6, backlog=_BACKLOG),
    )


def _in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own: a namespace is a property of the thread, and dies with it."""
    results: list[T] = []
    errors: list[OSError] = []

    def body() -> None:
        try:
            results.append(work())
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=body, name="cloister-netns")
    thread.start()
    thread.join()
    if errors:
        raise SandboxError(f"the sandbox's network namespace could not be made: {errors[0]}") from errors[0]
    return results[0]
