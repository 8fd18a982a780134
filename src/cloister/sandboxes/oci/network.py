"""Network namespaces that hold nothing but `lo`, and the sockets that listen in them."""

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cloister.errors import SandboxError
from cloister.model.sandbox import NAMES_PORT, PROXY_PORT, TRANSPARENT_PORT
from cloister.sandboxes.oci import syscalls
from cloister.sandboxes.oci.catch import catch_everything, is_caught

T = TypeVar("T")

_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_INTERFACE_REQUEST = struct.Struct("16sh14x")
_BACKLOG = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class ListeningSockets:
    """What listens in a namespace for every sandbox alike; see `protocols.Listeners`."""

    proxy: tuple[socket.socket, ...]
    transparent: tuple[socket.socket, ...] = ()
    names: tuple[socket.socket, ...] = ()
    """None of the last two where nothing can be caught."""

    def close(self) -> None:
        """Close them all. Harmless twice."""
        for listener in (*self.proxy, *self.transparent, *self.names):
            listener.close()


def create_namespace(path: Path) -> ListeningSockets:
    """Make a namespace that `path` keeps alive, and return the listening sockets in it.

    The namespace belongs to the host's user namespace, so a container's root cannot change it.
    """

    def make() -> ListeningSockets:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        _raise_loopback()
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
        caught = not catch_everything()
        path.touch(mode=0o600)
        syscalls.mount("/proc/thread-self/ns/net", str(path), flags=syscalls.MS_BIND)
        return _listen_for_all(caught=caught)

    return _in_thread(make)


def find_catching_error() -> str:
    """Return why nothing can be caught on this host, found in a namespace that ends at once; empty when it can."""

    def trial() -> str:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        _raise_loopback()
        return catch_everything()

    try:
        return _in_thread(trial)
    except SandboxError as error:
        return str(error.__cause__)


def listen_again(path: Path) -> ListeningSockets:
    """Return new listening sockets in a namespace that exists, whose former ones are closed."""
    return in_namespace(path, lambda: _listen_for_all(caught=is_caught()))


def listen_in(path: Path, port: int) -> tuple[socket.socket, ...]:
    """Return new listening sockets at a loopback port, on both families, in a namespace that exists."""
    return in_namespace(path, lambda: _listen(port))


def in_namespace(path: Path, work: Callable[[], T]) -> T:
    """Do `work` in a namespace that exists: a socket that it makes stays there. SandboxError for its OSError."""

    def enter() -> T:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
        finally:
            os.close(descriptor)
        return work()

    return _in_thread(enter)


def _listen_for_all(*, caught: bool) -> ListeningSockets:
    proxy = _listen(PROXY_PORT)
    if not caught:
        return ListeningSockets(proxy=proxy)
    names = (*_bind_datagrams(NAMES_PORT), *_listen(NAMES_PORT))
    return ListeningSockets(proxy=proxy, transparent=_listen(TRANSPARENT_PORT), names=names)


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


def _bind_datagrams(port: int) -> tuple[socket.socket, ...]:
    made = (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    )
    for bound, address in zip(made, ("127.0.0.1", "::1"), strict=True):
        bound.bind((address, port))
    return made


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
        raise SandboxError(f"the sandbox's network namespace could not be used: {errors[0]}") from errors[0]
    return results[0]
