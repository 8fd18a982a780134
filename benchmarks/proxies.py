"""The proxies that are measured beside each other, all in one network namespace: ours, and three of Debian's."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from world import World

from cloister.egress.authority import load_authority
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.model.network import NetworkMode, NetworkPolicy
from cloister.model.phase import Phase
from cloister.model.sandbox import SandboxName
from cloister.protocols import Listeners

PORTS = {"cloister": 3001, "squid": 3002, "tinyproxy": 3003, "mitmdump": 3004}
_STARTED_SECONDS = 30.0
_SMAPS = "smaps_rollup"

# Debian's squid keeps an access log, as we keep events; it caches nothing here, for a tunnel cannot be cached.
_SQUID = """\
http_port 127.0.0.1:{port}
http_access allow all
cache deny all
access_log stdio:{place}/access.log
cache_log {place}/cache.log
coredump_dir {place}
pid_filename none
pinger_enable off
max_filedescriptors 16384
shutdown_lifetime 0 seconds
"""
_TINYPROXY = """\
User nobody
Group nogroup
Port {port}
Listen 127.0.0.1
MaxClients 4000
Timeout 600
LogFile "{place}/log"
LogLevel Connect
"""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One that answers on a port of 127.0.0.1 inside."""

    port: int
    pid: Callable[[], int]
    """Of its first process."""

    def resident_bytes(self) -> int:
        """Return the memory of all its processes, what they share counted once."""
        return sum(_proportional_bytes(pid) for pid in _with_descendants(self.pid()))


def put_first(pid: int) -> None:
    """Let the process's session go before whatever else the machine does, where it shares by sessions (sched(7))."""
    with contextlib.suppress(FileNotFoundError):
        Path(f"/proc/{pid}/autogroup").write_text("-15")


@asynccontextmanager
async def open_cloister(
    world: World, host: str, ports: Sequence[int], *, vouching: str | None = None
) -> AsyncIterator[Proxy]:
    """Start our egress process as a worker does, with one sandbox that may reach `host`.

    With `vouching`, certificates that vouch for the origin, requests inside HTTPS are read, and may be GET alone. As
    many decisions and connections as the measurement needs are allowed; everything else is as it comes.
    """
    settings = EgressSettings(connections=4000, decisions_at_once=1_000_000, decisions_per_second=1_000_000.0)
    policy = NetworkPolicy(
        mode=NetworkMode.LIMITED, phase=Phase.AGENT, environment="bench", allow=(host,), ports=tuple(ports)
    )
    if vouching is not None:
        policy = replace(policy, methods=("GET",))
        with tempfile.TemporaryDirectory() as place:
            settings = replace(settings, authorities=vouching, authority=load_authority(Path(place)))
    listener = world.listener(PORTS["cloister"])
    async with EgressProcess(settings, command_prefix=world.command_prefix) as egress:
        await egress.open(SandboxName("bench"), Listeners(proxy=(listener.detach(),)), policy, lambda _: None)
        put_first(egress.pid or os.getpid())
        yield Proxy(PORTS["cloister"], lambda: egress.pid or 0)


@contextmanager
def open_squid(world: World, place: Path) -> Iterator[Proxy]:
    """Start a squid of our own, in one process."""
    config = _configure(place, "proxy", _SQUID.format(port=PORTS["squid"], place=place))
    with _started(world, PORTS["squid"], "squid", "-N", "-f", str(config)) as proxy:
        yield proxy


@contextmanager
def open_tinyproxy(world: World, place: Path) -> Iterator[Proxy]:
    """Start a tinyproxy of our own."""
    config = _configure(place, "nobody", _TINYPROXY.format(port=PORTS["tinyproxy"], place=place))
    with _started(world, PORTS["tinyproxy"], "tinyproxy", "-d", "-c", str(config)) as proxy:
        yield proxy


@contextmanager
def open_mitmdump(world: World, place: Path, *, intercept: bool) -> Iterator[Proxy]:
    """Start a mitmdump that opens every tunnel, or none."""
    place.mkdir()
    port = PORTS["mitmdump"]
    options = ("--quiet", "--listen-host", "127.0.0.1", "--listen-port", str(port), "--set", f"confdir={place}")
    how = ("--ssl-insecure",) if intercept else ("--ignore-hosts", ".*")
    with _started(world, port, "mitmdump", *options, *how) as proxy:
        yield proxy


def _configure(place: Path, user: str, text: str) -> Path:
    """Write the configuration into a directory of its user's own."""
    place.mkdir()
    config = place / "configuration"
    config.write_text(text)
    shutil.chown(place, pwd.getpwnam(user).pw_uid)
    return config


@contextmanager
def _started(world: World, port: int, *command: str) -> Iterator[Proxy]:
    # A session of its own, as our process has: the kernel shares the processors out among sessions (sched_autogroup).
    program = subprocess.Popen(
        (*world.command_prefix, *command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for(world, port, program)
        put_first(program.pid)
        yield Proxy(port, lambda: program.pid)
    finally:
        program.terminate()
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def _wait_for(world: World, port: int, program: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTED_SECONDS
    while program.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), world.inside(lambda: socket.create_connection(("127.0.0.1", port))):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{program.args!r} does not listen on port {port}")


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _proportional_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}", _SMAPS).read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
