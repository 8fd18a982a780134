"""Says how this process is kept apart, as one JSON object."""

import itertools
import json
import os
import resource
import stat
from pathlib import Path

MASKED = """acpi asound interrupts kcore keys kmsg latency_stats sched_debug scsi sysrq-trigger timer_list timer_stats
version_signature""".split()
READ_ONLY = "bus fs irq sys sys/kernel/core_pattern sys/kernel/hostname sys/net/ipv4/ip_forward".split()
FLAGS = ("ro", "rw", "nosuid", "nodev", "noexec")


def status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return None


def kind(mode):
    kinds = {"file": stat.S_ISREG, "pipe": stat.S_ISFIFO, "character device": stat.S_ISCHR, "directory": stat.S_ISDIR}
    return next((name for name, check in kinds.items() if check(mode)), oct(mode))


def descriptors():
    """Those that were handed in."""
    found = {}
    for number in range(4096):
        try:
            found[number] = kind(os.fstat(number).st_mode)
        except OSError:
            continue
    return found


def reveals(path):
    """Whether anything of a masked path can be read."""
    try:
        if path.is_dir():
            return any(path.iterdir())
        return bool(os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1))
    except OSError:
        return False


def writable(path):
    try:
        if path.is_dir():
            (path / "cloister-probe").touch()
        else:
            os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


def mounts():
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        target, options, propagation = fields[4], fields[5].split(","), fields[6:]
        if target.startswith("/proc/") or not Path(target).is_dir():
            continue  # masks and devices, which are looked at one by one; their number depends on the kernel
        found[target] = " ".join([after.split()[0], *(flag for flag in FLAGS if flag in options), *propagation])
    return dict(sorted(found.items()))


def devices():
    found = {}
    for path in sorted([*Path("/dev").iterdir(), *Path("/dev/pts").iterdir()]):
        mode = path.lstat().st_mode
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            number = path.lstat().st_rdev
            found[str(path)] = f"{os.major(number)}:{os.minor(number)}"
    return found


def sys_files():
    few = itertools.islice(Path("/sys").rglob("*"), 200)
    return sorted(str(path) for path in few if not path.name.startswith("cpu"))


print(
    json.dumps(
        {
            "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
            "uid_map": Path("/proc/self/uid_map").read_text().split(),
            "gid_map": Path("/proc/self/gid_map").read_text().split(),
            "capabilities": {name: status(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
            "no_new_privs": status("NoNewPrivs"),
            "seccomp": status("Seccomp"),
            "namespaces": {path.name: str(path.readlink()) for path in Path("/proc/self/ns").iterdir()},
            "descriptors": descriptors(),
            "revealed": [name for name in MASKED if reveals(Path("/proc", name))],
            "writable": [name for name in READ_ONLY if writable(Path("/proc", name))],
            "mounts": mounts(),
            "devices": devices(),
            "sys": sys_files(),
            "hostname": os.uname().nodename,
            "cgroups": sorted({line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}),
            "limits": [resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1024],
            "variables": sorted(os.environ.keys() - {"LC_CTYPE"}),
        }
    )
)
