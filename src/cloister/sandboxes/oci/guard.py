"""The trusted layer above every image and snapshot: real directories and files at every mount point.

A snapshot is hostile input: with `/proc` as a symlink in it, a runtime would mount somewhere else
(CVE-2019-19921, CVE-2021-30465, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881). As the topmost
lower layer the guard hides such things, because a directory above a symlink replaces it.
"""

import hashlib
import os
import shutil
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloister.errors import HostError, TaskFailedError
from cloister.model.container import CA_BUNDLE
from cloister.model.pack import PACKS
from cloister.sandboxes.oci import trust

MIRROR = "/cloister/mirror.git"
INIT = "/cloister/init"
INPUT = "/cloister/in"
OUT = "/cloister/out"
TOOL = "/cloister/tool"
TOOL_GIT = "/cloister/git"
TOOL_EXCHANGE = "/cloister/exchange"
"""The last three are used by the containers of `toolbox` only."""
HOSTNAME = "cloister"

DIRECTORIES = {
    "/dev": 0o755,
    "/proc": 0o555,
    "/sys": 0o555,
    "/run": 0o755,
    "/tmp": 0o1777,
    "/etc": 0o755,
    "/etc/ssl": 0o755,
    "/etc/ssl/certs": 0o755,
    "/workspace": 0o755,
    "/opt": 0o755,
    "/opt/cloister": 0o755,
    PACKS: 0o755,
    "/cloister": 0o755,
    MIRROR: 0o755,
    INPUT: 0o755,
    OUT: 0o755,
    TOOL: 0o755,
    TOOL_GIT: 0o755,
    TOOL_EXCHANGE: 0o755,
}

_HOSTS = f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost {HOSTNAME}\n"
_RESOLV_CONF = "# Cloister's own: its addresses only stand for names.\nnameserver 127.0.0.1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """The layer, and the small /sys that stands in for the host's."""

    layer: Path
    sysfs: Path


def make_guard(state: Path, owner: int, authorities: str = "") -> Guard:
    """Find or make the guard for this host; its name is the digest of what it is made of.

    `owner` is the host's uid and gid of a container's root; `authorities` are certificates in PEM that programs trust
    besides those of the host.
    """
    bundle = _host_authorities()
    files = {
        "/etc/resolv.conf": _RESOLV_CONF.encode(),
        "/etc/hosts": _HOSTS.encode(),
        "/etc/hostname": f"{HOSTNAME}\n".encode(),
        INIT: b"",
    }
    cpus = os.sched_getaffinity(0)
    directories = DIRECTORIES | trust.DIRECTORIES
    plan = repr((sorted(directories.items()), sorted(files.items()), bundle, authorities, len(cpus), owner))
    place = state / "guards" / hashlib.sha256(plan.encode()).hexdigest()[:32]
    if not place.exists():
        draft = Path(f"{place}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        _write_layer(draft / "layer", directories, files | trust.trust_files(bundle, authorities), owner)
        _write_sysfs(draft / "sysfs", len(cpus))
        try:
            draft.rename(place)
        except OSError:  # another process was first, and made the same
            shutil.rmtree(draft)
    return Guard(layer=place / "layer", sysfs=place / "sysfs")


def check_mount_points(upper: Path) -> None:
    """Refuse a layer that a container wrote to when it replaced a mount point. TaskFailedError names it.

    Needed only where another container starts on the same layer: elsewhere the guard lies above it.
    """
    for path in DIRECTORIES:
        if not _is_plain_or_absent(upper, path):
            raise TaskFailedError(f"{path} was replaced in the sandbox, so nothing more can be started in it")


def _is_plain_or_absent(upper: Path, path: str) -> bool:
    place = upper
    for part in path.strip("/").split("/"):
        place = place / part
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            return True
        if not stat.S_ISDIR(mode):
            return False
    return True


def _host_authorities() -> str:
    path = ssl.get_default_verify_paths().cafile or CA_BUNDLE
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"the host's authorities cannot be read: {error}", hint="cloister doctor") from error


def _write_layer(layer: Path, directories: Mapping[str, int], files: Mapping[str, bytes], owner: int) -> None:
    layer.mkdir(parents=True)
    os.chown(layer, owner, owner)
    layer.chmod(0o755)
    for path, mode in directories.items():
        directory = layer / path.lstrip("/")
        directory.mkdir()
        os.chown(directory, owner, owner)
        directory.chmod(mode)
    for path, content in files.items():
        file = layer / path.lstrip("/")
        file.write_bytes(content)
        os.chown(file, owner, owner)
        file.chmod(0o644)


def _write_sysfs(sysfs: Path, cpus: int) -> None:
    """What programs read of /sys when they choose how many threads to start."""
    topology = sysfs / "devices" / "system" / "cpu"
    topology.mkdir(parents=True)
    for number in range(cpus):
        (topology / f"cpu{number}").mkdir()
    for name in ("online", "possible", "present"):
        (topology / name).write_text(f"0-{cpus - 1}\n" if cpus > 1 else "0\n")
    (sysfs / "fs" / "cgroup").mkdir(parents=True)
    for name in ("block", "bus", "class", "kernel"):
        (sysfs / name).mkdir()
