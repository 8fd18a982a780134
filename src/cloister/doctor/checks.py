"""The rules: what a host needs, judged on facts alone."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from cloister.doctor.facts import (
    NAMESPACES,
    OPTIONAL_RUNTIME,
    RUNTIMES,
    TMPFS_CANDIDATES,
    TRUST_VARIABLE,
    HostFacts,
    RuntimeFact,
)
from cloister.doctor.finding import Finding, fail, ok, warn
from cloister.doctor.vulnerability import LISTED_UNTIL, find_vulnerabilities
from cloister.model.quantity import GIB, size_to_text

OLDEST_KERNEL = (5, 10)
"""Overlay mounts without syncs (`volatile`) came with it."""
CONTROLLERS = ("memory", "pids", "cpu")
SECCOMP_ACTIONS = {"allow", "errno"}
DISTRIBUTIONS = ("debian", "ubuntu")
LEAST_FREE_BYTES = 3 * GIB
"""An image and the packages that it is built from."""
LOW_FREE_BYTES = 20 * GIB
LEAST_FREE_INODES = 200_000
LEAST_OPEN_FILES = 16384
LEAST_USER_NAMESPACES = 1024
LEAST_INOTIFY_INSTANCES = 128
EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
"""Ids of tasks count from here."""

_NAMESPACE_SYSCTLS = {"user.max_user_namespaces": 65536, "kernel.unprivileged_userns_clone": 1}
_NEEDED = {"catatonit": "catatonit", "git": "git", "mmdebstrap": "mmdebstrap"}
_USEFUL = {
    "newuidmap": ("uidmap", "ordinary users cannot run sandboxes"),
    "skopeo": ("skopeo", "no image can be pulled from a registry"),
    "ssh": ("openssh-client", "no repository can be fetched by ssh"),
}
_FILE_SYSTEM_MAKER = "mkfs.ext4"
_UNFIT = {"overlay", "nfs", "nfs4", "cifs", "9p", "vfat", "exfat", "ramfs"}


def judge(facts: HostFacts) -> Sequence[Finding]:
    """Return a finding for everything that is needed or useful, in the order of reading."""
    return [finding for check in CHECKS for finding in check(facts)]


def _kernel(facts: HostFacts) -> Iterable[Finding]:
    match = re.match(r"(\d+)\.(\d+)", facts.kernel)
    found = (int(match[1]), int(match[2])) if match else (0, 0)
    needed = ".".join(map(str, OLDEST_KERNEL))
    if found < OLDEST_KERNEL:
        yield fail("kernel", f"Linux {facts.kernel}", f"install Linux {needed} or newer")
    else:
        yield ok("kernel", f"Linux {facts.kernel}")


def _distribution(facts: HostFacts) -> Iterable[Finding]:
    if facts.distribution in DISTRIBUTIONS:
        yield ok("distribution", facts.distribution)
    else:
        yield fail("distribution", f"{facts.distribution}: images cannot be built here", "use Debian or Ubuntu")


def _root(facts: HostFacts) -> Iterable[Finding]:
    if facts.uid == 0:
        yield ok("privileges", "root")
    else:
        yield fail("privileges", f"user {facts.uid}: sandboxes need root for now", "run as root, e.g. with sudo")


def _clock(facts: HostFacts) -> Iterable[Finding]:
    said = f"{facts.now:%Y-%m-%d %H:%M} UTC"
    if facts.now < EARLIEST:
        yield fail("clock", f"{said} is in the past", "set the clock, e.g. apt install systemd-timesyncd")
    else:
        yield ok("clock", said)


def _namespaces(facts: HostFacts) -> Iterable[Finding]:
    for kind, error in facts.namespace_errors.items():
        do = "look at /proc/sys/user/max_*_namespaces, and whether this is itself a container"
        lacking = fail("namespaces", f"no {kind} namespace: {error}", do)
        yield _with_sysctls(lacking, _NAMESPACE_SYSCTLS) if kind == "user" else lacking
    if not facts.namespace_errors:
        yield ok("namespaces", " ".join(NAMESPACES))


def _cgroups(facts: HostFacts) -> Iterable[Finding]:
    missing = [name for name in CONTROLLERS if name not in facts.controllers]
    if facts.cgroups == "none":
        yield fail("cgroups", "none are mounted", "mount -t cgroup2 none /sys/fs/cgroup, or boot with systemd")
    elif missing:
        do = (
            "boot with cgroup_enable=memory" if "memory" in missing else "enable them in the kernel or its command line"
        )
        yield fail("cgroups", f"{facts.cgroups}, without {', '.join(missing)}", do)
    else:
        yield ok("cgroups", f"{facts.cgroups} with {', '.join(CONTROLLERS)}")
    if facts.has_swap and not facts.counts_swap:
        do = "boot with swapaccount=1 or systemd.unified_cgroup_hierarchy=1, or turn swap off"
        yield warn("memory limits", "they do not hold for swap", do)


def _seccomp(facts: HostFacts) -> Iterable[Finding]:
    if facts.seccomp_actions >= SECCOMP_ACTIONS:
        yield ok("seccomp", "filters can be set")
    else:
        yield fail("seccomp", "the kernel has no filters", "use a kernel with CONFIG_SECCOMP_FILTER")


def _tmpfs(facts: HostFacts) -> Iterable[Finding]:
    if facts.tmpfs:
        yield ok("tmpfs", f"{facts.tmpfs[0]}; secrets never touch a disk")
    else:
        places = " or ".join(TMPFS_CANDIDATES)
        yield fail("tmpfs", f"none at {places}: secrets would touch a disk", "mount -t tmpfs tmpfs /run")


def _runtime(facts: HostFacts) -> Iterable[Finding]:
    wanted = facts.wanted_runtime
    chosen = find_runtime(facts)
    if chosen is None:
        names = " or ".join(RUNTIMES) if wanted == "auto" else wanted
        lacking = fail("runtime", f"{names} is not installed", "apt install crun")
        known = {"auto": "crun", **{name: name for name in RUNTIMES}}
        yield _with_packages(lacking, known[wanted]) if wanted in known else lacking
        return
    yield ok("runtime", f"{chosen.name} {chosen.version} ({chosen.path}), by the setting {wanted}")
    yield from _vulnerabilities(chosen)
    if chosen.name != OPTIONAL_RUNTIME and OPTIONAL_RUNTIME in facts.runtimes:
        yield ok("gVisor", f"{facts.runtimes[OPTIONAL_RUNTIME].path} is there: runtime = {OPTIONAL_RUNTIME!r} uses it")


def find_runtime(facts: HostFacts) -> RuntimeFact | None:
    """Return the runtime that sandboxes would be made with."""
    names = RUNTIMES if facts.wanted_runtime == "auto" else (facts.wanted_runtime,)
    return next((facts.runtimes[name] for name in names if name in facts.runtimes), None)


def _vulnerabilities(runtime: RuntimeFact) -> Iterable[Finding]:
    listed = find_vulnerabilities(runtime.name, runtime.version)
    patched = [one for one in listed if one.id in runtime.fixed_by_distribution]
    rest = [one for one in listed if one not in patched]
    for one in rest:
        if not one.covered:
            what = f"{one.id} is listed for {runtime.name} {runtime.version}: it {one.what}"
            yield warn("vulnerability", what, "update, use another runtime, or see the security tracker for the fix")
    reasons: dict[str, list[str]] = {}
    for one in rest:
        if one.covered:
            reasons.setdefault(one.covered, []).append(one.id)
    for reason, ids in reasons.items():
        yield ok("vulnerability", f"{', '.join(ids)}, listed for {runtime.version}, cannot be used here: {reason}")
    if patched:
        yield ok("vulnerability", f"{', '.join(one.id for one in patched)}: fixed by the installed package")
    if not listed:
        yield ok("vulnerability", f"none listed for {runtime.name} {runtime.version} up to {LISTED_UNTIL}")


def _programs(facts: HostFacts) -> Iterable[Finding]:
    for program, package in _NEEDED.items():
        if program in facts.programs:
            yield ok(program, facts.programs[program])
        else:
            yield _with_packages(fail(program, "is not installed", ""), package)
    for program, (package, loss) in _USEFUL.items():
        if program in facts.programs:
            yield ok(program, facts.programs[program])
        else:
            yield _with_packages(warn(program, f"is not installed: {loss}", ""), package)
    if not facts.authorities:
        yield _with_packages(fail("authorities", "the host has no certificate authorities", ""), "ca-certificates")
    if facts.unreadable_trust:
        what = (
            f"{TRUST_VARIABLE} names {facts.unreadable_trust}, which the egress process, user {facts.egress_uid}, "
            "cannot read: no server is trusted where HTTPS is read"
        )
        do = "let everybody read the file and enter its directories, or put it into /usr/local/share/ca-certificates"
        yield warn("authorities", what, do)


def _catching(facts: HostFacts) -> Iterable[Finding]:
    name = "programs that ignore the proxy"
    if not facts.catching_error:
        yield ok(name, "are caught")
    else:
        do = "apt install nftables; modprobe -a nft_chain_nat nft_redir nft_reject_inet; run as root"
        lacking = warn(name, f"reach nothing, allowed or not: {facts.catching_error}", do)
        yield replace(lacking, packages=("nftables",))


def _state(facts: HostFacts) -> Iterable[Finding]:
    state = facts.state
    name = "state directory"
    if any(sign in state.path for sign in ":,\\"):
        yield fail(name, f"{state.path}: overlayfs takes no colon, comma or backslash", "set CLOISTER_STATE")
    elif state.owner not in (None, facts.uid):
        yield fail(name, f"{state.path} belongs to user {state.owner}", f"chown {facts.uid} {state.path}")
    elif state.mode & 0o067:
        yield warn(name, f"{state.path} is open to others ({state.mode:04o})", f"chmod 0710 {state.path}")
    else:
        yield ok(name, f"{state.path}{'' if state.owner is not None else ', not made yet'}")


def _filesystem(facts: HostFacts) -> Iterable[Finding]:
    state = facts.state
    do = "put the state directory (CLOISTER_STATE) on ext4, xfs or btrfs"
    if state.filesystem in _UNFIT:
        yield fail("overlay", f"{state.filesystem} at {state.path} can hold no disks", do)
    elif state.overlay_error:
        yield fail("overlay", f"on {state.filesystem}: {state.overlay_error}", f"modprobe overlay, or {do}")
    elif state.filesystem == "tmpfs":
        yield warn("overlay", "works, but a tmpfs loses tasks and secrets on a reboot", do)
    else:
        yield ok("overlay", f"works on {state.filesystem}")


def _space(facts: HostFacts) -> Iterable[Finding]:
    state = facts.state
    free = f"{size_to_text(state.free_bytes)} free at {state.path}"
    do = "make room: cloister snapshot list, cloister image list"
    if state.free_bytes < LEAST_FREE_BYTES:
        yield fail("disk space", f"{free}; {size_to_text(LEAST_FREE_BYTES)} are needed", do)
    elif state.free_bytes < LOW_FREE_BYTES:
        yield warn("disk space", free, do)
    else:
        yield ok("disk space", free)
    if state.free_inodes is not None and state.free_inodes < LEAST_FREE_INODES:
        yield fail("inodes", f"{state.free_inodes} free at {state.path}; {LEAST_FREE_INODES} are needed", do)


def _limits(facts: HostFacts) -> Iterable[Finding]:
    floors: Sequence[tuple[str, int, int, Mapping[str, int]]] = (
        ("open files", facts.open_files, LEAST_OPEN_FILES, {}),
        ("user namespaces", facts.user_namespaces, LEAST_USER_NAMESPACES, {"user.max_user_namespaces": 65536}),
        (
            "inotify instances",
            facts.inotify_instances,
            LEAST_INOTIFY_INSTANCES,
            {"fs.inotify.max_user_instances": 1024},
        ),
    )
    for name, found, least, sysctls in floors:
        if found >= least:
            yield ok(name, f"at most {found}")
            continue
        lacking = warn(name, f"at most {found}; many sandboxes at once need {least}", "")
        do = "raise the hard limit, e.g. LimitNOFILE=65536"
        yield _with_sysctls(lacking, sysctls) if sysctls else replace(lacking, do=do)


def _with_packages(finding: Finding, package: str) -> Finding:
    """Say which package mends it, to people and to programs."""
    return replace(finding, do=f"apt install {package}", packages=(package,))


def _with_sysctls(finding: Finding, sysctls: Mapping[str, int]) -> Finding:
    return replace(finding, do=f"sysctl -w {' '.join(f'{k}={v}' for k, v in sysctls.items())}", sysctls=sysctls)


def _disk_limits(facts: HostFacts) -> Iterable[Finding]:
    if not facts.volume_error:
        yield ok("disk limits", "each sandbox writes to a file system of its own, behind a loop device")
        return
    do = "allow loop devices and ext4 (modprobe loop), or give the state directory a file system of its own"
    words = f"nothing holds limits.disk and limits.inodes: a sandbox can fill {facts.state.path}"
    found = warn("disk limits", f"{words} ({facts.volume_error})", do)
    yield _with_packages(found, "e2fsprogs") if _FILE_SYSTEM_MAKER in facts.volume_error else found


CHECKS: Sequence[Callable[[HostFacts], Iterable[Finding]]] = (
    _kernel,
    _distribution,
    _root,
    _clock,
    _namespaces,
    _cgroups,
    _seccomp,
    _tmpfs,
    _runtime,
    _programs,
    _catching,
    _state,
    _filesystem,
    _space,
    _limits,
    _disk_limits,
)
