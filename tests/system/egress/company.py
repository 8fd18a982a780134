"""A company's proxy: Debian's squid, which wants a user and a password, in a world of its own."""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .world import World

ADDRESS = "10.9.9.9"
PORT = 3128
USER = "cloister"
PASSWORD = "s3cret:p@ss/word"
ONLY_OUTSIDE = "outside.example"
"""A name that the proxy alone can look up."""
_STARTED_SECONDS = 30.0
_CONFIG = """\
http_port {address}:{port}
auth_param basic program /usr/lib/squid/basic_ncsa_auth {place}/users
auth_param basic children 1 startup=1
auth_param basic realm company
acl known proxy_auth REQUIRED
acl tls port 443
http_access deny CONNECT !tls
http_access deny !known
acl closed dstdomain .closed.example
http_access deny closed
http_access allow all
hosts_file {place}/hosts
cache deny all
access_log stdio:{place}/access.log
cache_log {place}/cache.log
coredump_dir {place}
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
"""


@dataclass(frozen=True)
class Company:
    """The proxy that runs."""

    log: Path

    def asked(self) -> list[str]:
        """What it was asked for, each as `status method target user`; connections that asked for nothing left out."""
        fields = [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []
        return [f"{line[3].partition('/')[2]} {line[5]} {line[6]} {line[7]}" for line in fields if line[5] != "-"]

    def forget(self) -> None:
        """Begin a new list."""
        if self.log.exists():
            self.log.write_text("")


@contextmanager
def open_company(world: World, outside: str) -> Iterator[Company]:
    """Start it; the name that it alone knows has the address `outside`."""
    with tempfile.TemporaryDirectory(prefix="cloister-squid-") as folder:
        place = Path(folder)
        place.chmod(0o777)  # squid runs as a user of its own
        with _started(world, place, outside):
            yield Company(place / "access.log")


@contextmanager
def _started(world: World, place: Path, outside: str) -> Iterator[None]:
    (place / "users").write_text(f"{USER}:{_digest(PASSWORD)}\n")
    (place / "hosts").write_text(f"{outside} {ONLY_OUTSIDE}\n")
    config = place / "squid.conf"
    config.write_text(_CONFIG.format(address=ADDRESS, port=PORT, place=place))
    command = (*world.command_prefix, "squid", "-N", "-f", str(config))
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(world, process)
            yield
        finally:
            process.kill()


def _wait_for(world: World, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _STARTED_SECONDS
    while True:
        try:
            world.connect(ADDRESS, PORT).close()
        except OSError:
            assert process.poll() is None, "squid ended"
            assert time.monotonic() < deadline, "squid did not start"
            time.sleep(0.1)
        else:
            return


def _digest(password: str) -> str:
    made = subprocess.run(
        ["openssl", "passwd", "-apr1", "-stdin"], input=password, text=True, capture_output=True, check=True
    )
    return made.stdout.strip()
