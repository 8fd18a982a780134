"""A real sshd on a loopback port, with keys and users of its own: nothing of the machine's own is read or changed."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

USER = "git"

# Its user, its directory below /run and its password file are there for this sshd alone.
_START = """
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/shadow" /etc/shadow
exec /usr/sbin/sshd -D -e -f "$1/sshd_config"
"""


@dataclass(frozen=True)
class SshServer:
    """Answers `git@127.0.0.1` at `port`, who is at home in `home`."""

    port: int
    home: Path
    place: Path
    """Holds `key`, which is accepted, `other_key`, which is not, and `known_hosts`, with this server's key."""

    def client_config(self, *, key: Path | None = None, known_hosts: Path | None = None, more: str = "") -> Path:
        """Write a configuration for clients, in which it is called `forge`; without a key, an agent has to have one."""
        text = (
            f"{more}\nHost forge 127.0.0.1\n  HostName 127.0.0.1\n  User {USER}\nHost forge\n  Port {self.port}\n"
            f"Host *\n  UserKnownHostsFile {known_hosts or self.place / 'known_hosts'}\n"
            "  GlobalKnownHostsFile /dev/null\n  HashKnownHosts no\n"
            + (f"  IdentityFile {key}\n  IdentitiesOnly yes\n" if key else "  IdentityFile none\n")
        )
        config = self.place / "client_config"
        config.write_text(text)
        return config


@contextmanager
def running_ssh_server(place: Path, home: Path) -> Iterator[SshServer]:
    """Start one whose user's home is `home`; it ends with the block."""
    place.mkdir()
    for name in ("host_key", "key", "other_key"):
        make_key(place / name)
    port = _free_port()
    (place / "passwd").write_text(
        "".join(line for line in _lines("/etc/passwd") if not line.startswith(f"{USER}:"))
        + f"{USER}:x:0:0::{home}:/bin/sh\n"
    )
    (place / "shadow").write_text(f"root:*:20000::::::\n{USER}:*:20000::::::\n")
    (place / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {place}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {place}/key.pub\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nAcceptEnv GIT_PROTOCOL\nUseDNS no\n"
    )
    host_key = (place / "host_key.pub").read_text()
    (place / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    log = (place / "log").open("wb")
    with log, subprocess.Popen(["unshare", "--mount", "sh", "-c", _START, "sh", str(place)], stderr=log) as process:
        try:
            _wait_for(process, port, place / "log")
            yield SshServer(port, home, place)
        finally:
            process.terminate()


def make_key(path: Path) -> Path:
    """Make a key pair without a passphrase."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True, capture_output=True)
    return path


@contextmanager
def running_agent(key: Path) -> Iterator[str]:
    """Start an agent that holds a key; yields its socket."""
    socket_path = str(key.with_name("agent"))
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket_path], stdout=subprocess.DEVNULL) as process:
        try:
            while not os.path.exists(socket_path):  # noqa: PTH110
                assert process.poll() is None
                time.sleep(0.01)
            environment = {**os.environ, "SSH_AUTH_SOCK": socket_path}
            subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True, capture_output=True)
            yield socket_path
        finally:
            process.terminate()


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines(keepends=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    while True:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
