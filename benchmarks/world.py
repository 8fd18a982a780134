"""A network namespace where every address is local, so that a benchmark's names and addresses reach no wire."""

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloister.sandboxes.oci import syscalls

_NAMESPACES = Path("/run/netns")
_SETTINGS = Path("/etc/netns")
"""What lies in a directory of the namespace's name is bound over /etc for a program inside (ip-netns(8))."""

_MANY_CONNECTIONS = ("net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1")
"""Or tens of thousands of connections are soon measured by how long the kernel looks for a free port."""


@dataclass(frozen=True, slots=True)
class World:
    """The namespace, by its name."""

    name: str

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """Runs a program inside."""
        return (shutil.which("ip") or "/sbin/ip", "netns", "exec", self.name)

    def listener(self, port: int) -> socket.socket:
        """Listen inside, on the loopback address."""
        return self.inside(lambda: socket.create_server(("127.0.0.1", port), backlog=4096))

    def inside(self, make: Callable[[], socket.socket]) -> socket.socket:
        """Make a socket inside, where it stays. A namespace belongs to a thread, so one is made for it."""

        def enter() -> socket.socket:
            with (_NAMESPACES / self.name).open("rb") as namespace:
                syscalls.setns(namespace.fileno(), syscalls.CLONE_NEWNET)
            return make()

        with ThreadPoolExecutor(max_workers=1) as executor:
            return executor.submit(enter).result()


@contextmanager
def open_world(name: str, hosts: Mapping[str, str]) -> Iterator[World]:
    """Make the namespace, where these names have these addresses, and remove every trace of it afterwards."""
    settings = _SETTINGS / name
    settings.mkdir(parents=True)
    try:
        lines = (f"{address} {host}\n" for host, address in {"localhost": "127.0.0.1", **hosts}.items())
        (settings / "hosts").write_text("".join(lines))
        (settings / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            for line in ("link set lo up", "route add local 0.0.0.0/0 dev lo"):
                subprocess.run(["ip", "-n", name, *line.split()], check=True)
            world = World(name)
            for setting in _MANY_CONNECTIONS:
                subprocess.run([*world.command_prefix, "sysctl", "--quiet", "--write", setting], check=True)
            yield world
        finally:
            subprocess.run(["ip", "netns", "delete", name], check=True)
    finally:
        shutil.rmtree(settings)
