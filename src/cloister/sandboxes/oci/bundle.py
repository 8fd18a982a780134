"""The OCI bundle of one container: everything that the runtime is told, in one document."""

import resource
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloister.model.environment import Limits
from cloister.sandboxes.oci import seccomp, seccomp_filter
from cloister.sandboxes.oci.cgroup import CgroupLayout, find_layout, path_of
from cloister.sandboxes.oci.guard import HOSTNAME, INIT

UID_BASE = 1_000_000_000
"""Host uid and gid of a container's root; far from every account, and from /etc/subuid's usual ranges."""
UID_COUNT = 65536

CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
"""What package managers need to install as root, valid in the container's user namespace only."""

MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/kmsg",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/sysrq-trigger",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/version_signature",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys")

_CPU_PERIOD_MICROSECONDS = 100_000
_MOST_FILES = 65536
_NO_CORE = 1
"""Bytes. With 0, a `core_pattern` that is a pipe would still carry a setup's memory to the host; see core(5)."""
_OOM_SCORE = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A directory or file of the host, seen inside."""

    source: Path
    target: str
    writable: bool = False
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What one container is made of."""

    container: str
    """Its name for the runtime and for its control group."""
    argv: Sequence[str]
    environment: Mapping[str, str]
    """Secrets included: the document may lie on tmpfs only."""
    cwd: str
    root: Path
    root_read_only: bool = False
    network: Path | None
    """The namespace to join; None gives it one without any interface up."""
    init: Path
    """The program that becomes process 1, forwards signals and buries the dead; statically linked."""
    sysfs: Path
    binds: Sequence[Bind]
    limits: Limits
    terminal: bool = False
    """Its streams are a terminal, whose other end the runtime sends to its console socket."""

    shell: Sequence[str] = ()
    """What a person runs who enters the container."""

    def shell_process(self) -> dict[str, Any]:
        """Return the `process` of a person who enters: as the container's own, from the root directory.

        That cannot be replaced, while any other may lead elsewhere by the time it is entered (CVE-2024-21626).
        """
        return {**self._process(), "terminal": True, "args": list(self.shell), "cwd": "/"}

    def document(self) -> dict[str, Any]:
        """Return config.json by the OCI runtime specification, version 1.0.2."""
        return {
            "ociVersion": "1.0.2",
            "process": self._process(),
            "root": {"path": str(self.root), "readonly": self.root_read_only},
            "hostname": HOSTNAME,
            "mounts": self._mounts(),
            "linux": self._linux(),
            "annotations": seccomp_filter.annotations(),
        }

    def _process(self) -> dict[str, Any]:
        _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = min(most_files, _MOST_FILES)
        return {
            "terminal": self.terminal,
            "user": {"uid": 0, "gid": 0},
            "args": [INIT, "--", *self.argv],
            "env": [f"{name}={value}" for name, value in self.environment.items()],
            "cwd": self.cwd,
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES),
            "noNewPrivileges": True,
            # When the host's memory is short, a sandbox goes before anything of the host's, ours included.
            "oomScoreAdj": _OOM_SCORE,
            "rlimits": [
                {"type": "RLIMIT_CORE", "soft": _NO_CORE, "hard": _NO_CORE},
                {"type": "RLIMIT_NOFILE", "soft": files, "hard": files},
            ],
        }

    def _mounts(self) -> list[dict[str, Any]]:
        shared = f"size={self.limits.memory_bytes // 2}"
        kernel = [
            _mount("/proc", "proc", "nosuid", "noexec", "nodev"),
            _mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            _mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
            _mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", shared),
            _mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
            _mount("/run", "tmpfs", "nosuid", "nodev", "mode=755", shared),
            _bind(Bind(source=self.sysfs, target="/sys")),
        ]
        if find_layout() is CgroupLayout.V2:
            kernel.append(_mount("/sys/fs/cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"))
        init = Bind(source=self.init, target=INIT, executable=True)
        return [*kernel, *(_bind(bind) for bind in (init, *self.binds))]

    def _linux(self) -> dict[str, Any]:
        mapping = [{"containerID": 0, "hostID": UID_BASE, "size": UID_COUNT}]
        network = {"type": "network", "path": str(self.network)} if self.network else {"type": "network"}
        kinds = ("pid", "mount", "ipc", "uts", "user", "cgroup")
        quota = max(1000, int(self.limits.cpu * _CPU_PERIOD_MICROSECONDS))
        memory = self.limits.memory_bytes
        return {
            "uidMappings": mapping,
            "gidMappings": mapping,
            "namespaces": [network, *({"type": kind} for kind in kinds)],
            "cgroupsPath": path_of(self.container),
            "resources": {
                "memory": {"limit": memory, **({"swap": memory} if _swap_is_counted() else {})},
                "pids": {"limit": self.limits.pids},
                "cpu": {"quota": quota, "period": _CPU_PERIOD_MICROSECONDS},
            },
            "seccomp": seccomp.profile(),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY,
        }


def _mount(target: str, kind: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": kind, "options": list(options)}


def _bind(bind: Bind) -> dict[str, Any]:
    options = ["rbind", "rprivate", "nosuid", "nodev", "rw" if bind.writable else "ro"]
    if not (bind.writable or bind.executable):
        options.append("noexec")
    return {"destination": bind.target, "type": "bind", "source": str(bind.source), "options": options}


def _swap_is_counted() -> bool:
    """Whether the kernel can limit memory and swap together; without, a limit on swap is an error."""
    return find_layout() is CgroupLayout.V2 or Path("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
