"""A network namespace where every address is local, with origins and a DNS authority of its own in it.

Nothing that is sent in it ever reaches a wire: `ip route add local 0.0.0.0/0 dev lo`.
"""

import ctypes
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TypeVar

from dnslib import AAAA, CNAME, QTYPE, RCODE, RR, A, DNSRecord

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_NAMESERVER = "127.0.0.1"


@dataclass
class World:
    """The namespace's name, what its names resolve to, and what was asked."""

    name: str
    zone: dict[str, list[str]] = field(default_factory=dict)
    """Name to addresses, or to one name with a trailing dot (CNAME). `!` makes the authority silent."""
    own_address: str = "93.184.215.99"
    """A public address of the machine itself."""
    lookups: list[str] = field(default_factory=list)

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """Runs a command in it."""
        return (shutil.which("ip") or "/sbin/ip", "netns", "exec", self.name)

    def listener(self, address: str, port: int) -> socket.socket:
        """Listen inside."""
        return self._inside(
            lambda: socket.create_server(
                (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=100
            )
        )

    def connect(self, address: str, port: int) -> socket.socket:
        """Connect from inside, with no proxy in between: the twin of every refusal."""
        return self._inside(lambda: socket.create_connection((address, port), timeout=10))

    def serve_names(self) -> None:
        """Answer DNS questions, until the namespace's socket is closed."""
        server = self._inside(lambda: _bind_udp(_NAMESERVER, 53))
        threading.Thread(target=self._answer_all, args=(server,), daemon=True).start()

    def _inside(self, make: Callable[[], T]) -> T:
        """Make something (a socket) inside: a namespace belongs to a thread, and a socket stays where it was made."""
        made: list[T] = []
        errors: list[BaseException] = []

        def enter() -> None:
            try:
                _enter_namespace(self.name)
                made.append(make())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return made[0]

    def _answer_all(self, server: socket.socket) -> None:
        while True:
            question, sender = server.recvfrom(4096)
            answer = self._answer(DNSRecord.parse(question))
            if answer is not None:
                server.sendto(answer.pack(), sender)

    def _answer(self, question: DNSRecord) -> DNSRecord | None:
        name = str(question.q.qname).lower().removesuffix(".")
        self.lookups.append(name)
        reply = question.reply()
        if name not in self.zone:
            reply.header.rcode = RCODE.NXDOMAIN
            return reply
        values = self.zone[name]
        if values == ["!"]:
            return None
        while values and values[0].endswith("."):
            reply.add_answer(RR(name, QTYPE.CNAME, rdata=CNAME(values[0]), ttl=0))
            name = values[0].removesuffix(".")
            values = self.zone[name]
        for value in values:
            kind = "AAAA" if ":" in value else "A"
            if QTYPE[question.q.qtype] == kind:
                packed = tuple(ip_address(value).packed)
                reply.add_answer(RR(name, getattr(QTYPE, kind), rdata=(AAAA if kind == "AAAA" else A)(packed), ttl=0))
        return reply


def remove_worlds_of_the_dead(prefix: str) -> None:
    """Remove what killed runs of the tests left: worlds named `<prefix><pid>-...` of processes that are no more."""
    for place in Path("/run/netns").glob(f"{prefix}*-*"):
        pid = place.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            subprocess.run(["ip", "netns", "delete", place.name], check=False)
            shutil.rmtree(Path("/etc/netns", place.name), ignore_errors=True)


@contextmanager
def made_world(name: str) -> Iterator[World]:
    """Make the namespace, and remove every trace of it afterwards."""
    settings = Path("/etc/netns", name)
    settings.mkdir(parents=True)
    try:
        (settings / "resolv.conf").write_text(
            f"nameserver {_NAMESERVER}\nsearch corp.example\noptions timeout:1 attempts:1\n"
        )
        subprocess.run(["ip", "netns", "add", name], check=True)
        try:
            for line in ("link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"):
                subprocess.run(["ip", "-n", name, *line.split()], check=True)
            world = World(name)
            subprocess.run(["ip", "-n", name, "address", "add", f"{world.own_address}/32", "dev", "lo"], check=True)
            world.serve_names()
            yield world
        finally:
            subprocess.run(["ip", "netns", "delete", name], check=True)
    finally:
        shutil.rmtree(settings)
        with suppress(OSError):  # others have settings there
            settings.parent.rmdir()


def _enter_namespace(name: str) -> None:
    with Path("/run/netns", name).open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


def _bind_udp(address: str, port: int) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, port))
    return server
