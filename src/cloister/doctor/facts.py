"""Looks at this host: by reading, and by doing what a sandbox needs in a child that ends at once."""

import gzip
import os
import platform
import re
import resource
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio
from anyio import to_thread

from cloister.doctor.vulnerability import VULNERABILITIES
from cloister.settings import Settings

NAMESPACES = ("user", "pid", "mount", "net", "ipc", "uts", "cgroup")
RUNTIMES = ("crun", "runc")
"""What the setting `auto` tries, in this order."""
OPTIONAL_RUNTIME = "runsc"
PROGRAMS = ("catatonit", "git", "mmdebstrap", "newuidmap", "skopeo", "ssh")
TRUST_VARIABLE = "SSL_CERT_FILE"
TMPFS_CANDIDATES = ("/run", "/dev/shm")

_CGROUPS = Path("/sys/fs/cgroup")
_SECONDS = 10.0

# Makes what a sandbox makes: a whiteout, and a directory that hides the one below (an extended attribute).
_OVERLAY_TRIAL = """
set -e
cd "$1"
mkdir lower lower/folder upper work merged
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,volatile,metacopy=off,index=off merged
touch lower/folder/file 2>/dev/null || true
rm -r merged/folder
mkdir merged/folder
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeFact:
    """An OCI runtime on this host."""

    name: str
    path: str
    version: str
    fixed_by_distribution: frozenset[str] = frozenset()
    """Advisories that the distribution's change log says are fixed in the installed package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFact:
    """The state directory, or where it would be made."""

    path: str
    owner: int | None
    """Uid; None when it does not exist yet."""
    mode: int
    """Permission bits."""
    filesystem: str
    """Type, as in /proc/self/mountinfo."""
    free_bytes: int
    free_inodes: int | None
    """None where the file system makes them as it goes."""
    overlay_error: str
    """Why overlayfs cannot write there; empty when it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Everything that the checks judge."""

    kernel: str
    distribution: str
    """ID of os-release(5)."""
    uid: int
    now: datetime
    namespace_errors: Mapping[str, str]
    """Kind to the reason why it cannot be made; kinds that can are not in it."""
    cgroups: str
    """v1, v2, hybrid or none."""
    controllers: frozenset[str]
    counts_swap: bool
    """Whether a limit on memory holds for swap too."""
    has_swap: bool
    tmpfs: tuple[str, ...]
    seccomp_actions: frozenset[str]
    wanted_runtime: str
    """The setting."""
    runtimes: Mapping[str, RuntimeFact]
    """By name or path that was asked for; what is not there is not in it."""
    programs: Mapping[str, str]
    """Name to path; what is not there is not in it."""
    catching_error: str
    """Why programs that ignore proxy variables cannot be caught; empty when they can."""
    authorities: bool
    """Whether the host has the bundle of certificate authorities."""
    unreadable_trust: str
    """The file that SSL_CERT_FILE names, when the egress process cannot read it; else empty."""
    egress_uid: int
    state: StateFact
    open_files: int
    """Hard limit of descriptors per process."""
    user_namespaces: int
    inotify_instances: int
    volume_error: str
    """Why what a sandbox writes cannot have a file system of its own; empty when it can."""


async def read_facts(
    settings: Settings, find_catching_error: Callable[[], str], find_volume_error: Callable[[Path], str]
) -> HostFacts:
    """Look at this host. What cannot be found out is reported as if it were missing."""
    layout, controllers = _cgroups()
    _, open_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return HostFacts(
        kernel=platform.release(),
        distribution=read_distribution(),
        uid=os.geteuid(),
        now=datetime.now(UTC),
        namespace_errors=await _namespace_errors(),
        cgroups=layout,
        controllers=controllers,
        counts_swap=layout == "v2" or (_CGROUPS / "memory/memory.memsw.limit_in_bytes").exists(),
        has_swap=len(_read("/proc/swaps").splitlines()) > 1,
        tmpfs=_tmpfs(),
        seccomp_actions=frozenset(_read("/proc/sys/kernel/seccomp/actions_avail").split()),
        wanted_runtime=settings.runtime,
        runtimes=await _runtimes(settings.runtime),
        programs={name: path for name in PROGRAMS if (path := shutil.which(name))},
        catching_error=await to_thread.run_sync(find_catching_error),
        authorities=_is_there("/etc/ssl/certs/ca-certificates.crt"),
        unreadable_trust=await _unreadable_trust(settings.egress_uid),
        egress_uid=settings.egress_uid,
        state=await _state(settings.state),
        open_files=open_files,
        user_namespaces=_number("/proc/sys/user/max_user_namespaces"),
        inotify_instances=_number("/proc/sys/fs/inotify/max_user_instances"),
        volume_error=await to_thread.run_sync(find_volume_error, _nearest_directory(settings.state)),
    )


async def _complaint_of(*command: str) -> str:
    """Run a program; return why it failed, and nothing when it did not."""
    with anyio.move_on_after(_SECONDS):
        try:
            ended = await anyio.run_process(command, check=False)
        except OSError as error:
            return f"{command[0]}: {error.strerror}"
        words = ended.stderr.decode(errors="replace").strip().splitlines()
        return "" if ended.returncode == 0 else (words[-1] if words else f"ended with status {ended.returncode}")
    return f"no answer in {_SECONDS:.0f} seconds"


async def _namespace_errors() -> Mapping[str, str]:
    trials = {kind: await _complaint_of("unshare", f"--{kind}", "--fork", "true") for kind in NAMESPACES}
    return {kind: complaint for kind, complaint in trials.items() if complaint}


async def _runtimes(wanted: str) -> Mapping[str, RuntimeFact]:
    names = dict.fromkeys((*RUNTIMES, OPTIONAL_RUNTIME, *(() if wanted == "auto" else (wanted,))))
    found = {name: await _runtime(path) for name in names if (path := shutil.which(name))}
    return {name: fact for name, fact in found.items() if fact}


async def _runtime(path: str) -> RuntimeFact | None:
    with anyio.move_on_after(_SECONDS):
        try:
            answer = await anyio.run_process([path, "--version"], check=False)
        except OSError:
            return None
        match = re.match(r"(\S+) version (\S+)", answer.stdout.decode(errors="replace"))
        if match is None:
            return None
        return RuntimeFact(name=match[1], path=path, version=match[2], fixed_by_distribution=_fixed(match[1], path))
    return None


def _fixed(name: str, path: str) -> frozenset[str]:
    """Read the advisories out of the change log that Debian's packages carry, for a runtime that came with one."""
    if not Path(path).resolve().is_relative_to("/usr") or "local" in Path(path).resolve().parts:
        return frozenset()
    try:
        with gzip.open(f"/usr/share/doc/{name}/changelog.Debian.gz", "rt", errors="replace") as log:
            text = log.read()
    except OSError:
        return frozenset()
    return frozenset(one.id for one in VULNERABILITIES.get(name, ()) if re.search(rf"{one.id}\b", text))


async def _unreadable_trust(uid: int) -> str:
    """Try to open, as that user, the file of authorities that OpenSSL's variable names."""
    named = os.environ.get(TRUST_VARIABLE)
    if not named:
        return ""
    path = str(await anyio.Path(named).absolute())
    user, groups = (uid, ()) if os.geteuid() == 0 else (None, None)
    command = ["test", "-f", path, "-a", "-r", path]
    opened = await anyio.run_process(command, check=False, user=user, group=user, extra_groups=groups)
    return "" if opened.returncode == 0 else path


def _cgroups() -> tuple[str, frozenset[str]]:
    if (_CGROUPS / "cgroup.controllers").exists():
        return "v2", frozenset(_read(_CGROUPS / "cgroup.controllers").split())
    mounted = frozenset(entry.name for entry in _CGROUPS.glob("*") if (entry / "cgroup.procs").exists())
    layout = "none" if not mounted else "hybrid" if "unified" in mounted else "v1"
    return layout, mounted


def _tmpfs() -> tuple[str, ...]:
    mounts = [line.split() for line in _read("/proc/self/mounts").splitlines()]
    kinds = {fields[1]: fields[2] for fields in mounts}
    return tuple(candidate for candidate in TMPFS_CANDIDATES if kinds.get(candidate) == "tmpfs")


async def _state(path: Path) -> StateFact:
    return _state_fact(path, await _overlay_error(_nearest_directory(path)))


def _state_fact(path: Path, overlay_error: str) -> StateFact:
    there = _nearest_directory(path)
    found = there.stat() if there == path else None
    space = os.statvfs(there)
    return StateFact(
        path=str(path),
        owner=found.st_uid if found else None,
        mode=stat.S_IMODE(found.st_mode) if found else 0o700,
        filesystem=_filesystem(there),
        free_bytes=space.f_bavail * space.f_frsize,
        free_inodes=space.f_favail if space.f_files else None,
        overlay_error=overlay_error,
    )


def _nearest_directory(path: Path) -> Path:
    """Return the directory itself, or the one it would be made in."""
    return next(place for place in (path, *path.parents) if place.is_dir())


async def _overlay_error(folder: Path) -> str:
    try:
        with tempfile.TemporaryDirectory(prefix=".cloister-doctor-", dir=folder) as trial:
            return await _complaint_of("unshare", "--mount", "sh", "-c", _OVERLAY_TRIAL, "sh", trial)
    except OSError as error:
        return f"{folder}: {error.strerror}"


def _filesystem(path: Path) -> str:
    """Return the type of the file system that `path` lies on."""
    best, kind = "", "unknown"
    for line in _read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        target = fields[4]
        if path.is_relative_to(target) and len(target) >= len(best):
            best, kind = target, fields[fields.index("-") + 1]
    return kind


def read_distribution() -> str:
    """Return the ID of os-release(5)."""
    try:
        return platform.freedesktop_os_release()["ID"]
    except (OSError, KeyError):
        return "unknown"


def _is_there(path: str) -> bool:
    return Path(path).exists()


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _read(path).strip()
    return int(text) if text.isdigit() else 0
