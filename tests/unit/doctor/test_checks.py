from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cloister.doctor.checks import LEAST_FREE_BYTES, LEAST_FREE_INODES, judge
from cloister.doctor.facts import NAMESPACES, RUNTIMES, HostFacts, RuntimeFact, StateFact
from cloister.doctor.finding import Finding, State
from cloister.model.quantity import GIB
from cloister.sandboxes.oci.runtime import PREFERRED

CATCHING = "programs that ignore the proxy"
CRUN = RuntimeFact(name="crun", path="/usr/bin/crun", version="1.31")
RUNC = RuntimeFact(name="runc", path="/usr/bin/runc", version="1.1.11")
HEALTHY = HostFacts(
    kernel="6.1.0-37-amd64",
    distribution="debian",
    uid=0,
    now=datetime(2026, 11, 22, tzinfo=UTC),
    namespace_errors={},
    cgroups="v2",
    controllers=frozenset({"cpuset", "cpu", "io", "memory", "pids"}),
    counts_swap=True,
    has_swap=True,
    tmpfs=("/run", "/dev/shm"),
    seccomp_actions=frozenset({"kill_process", "errno", "log", "allow"}),
    wanted_runtime="auto",
    runtimes={"crun": CRUN},
    programs={name: f"/usr/bin/{name}" for name in ("catatonit", "git", "mmdebstrap", "newuidmap", "skopeo", "ssh")},
    catching_error="",
    authorities=True,
    unreadable_trust="",
    egress_uid=65533,
    state=StateFact(
        path="/var/lib/cloister",
        owner=0,
        mode=0o710,
        filesystem="ext4",
        free_bytes=500 * GIB,
        free_inodes=10_000_000,
        overlay_error="",
    ),
    open_files=1_048_576,
    user_namespaces=90_000,
    inotify_instances=128,
    volume_error="",
)


def finding(facts: HostFacts, name: str, *, state: State) -> Finding:
    """The only finding of that name in that state."""
    found = [one for one in judge(facts) if one.name == name and one.state is state]
    assert len(found) == 1, judge(facts)
    return found[0]


def without(program: str) -> Mapping[str, str]:
    return {name: path for name, path in HEALTHY.programs.items() if name != program}


@pytest.mark.parametrize(
    ("change", "name", "word"),
    [
        ({"kernel": "5.4.0-42-generic"}, "kernel", "5.10"),
        ({"kernel": "unknown"}, "kernel", "5.10"),
        ({"distribution": "fedora"}, "distribution", "Debian"),
        ({"uid": 1000}, "privileges", "sudo"),
        ({"now": datetime(1970, 1, 1, tzinfo=UTC)}, "clock", "timesyncd"),
        ({"namespace_errors": {"user": "unshare failed"}}, "namespaces", "max_user_namespaces"),
        ({"namespace_errors": {"net": "Operation not permitted"}}, "namespaces", "container"),
        ({"cgroups": "none", "controllers": frozenset()}, "cgroups", "cgroup2"),
        ({"controllers": frozenset({"cpu", "pids"})}, "cgroups", "cgroup_enable=memory"),
        ({"seccomp_actions": frozenset()}, "seccomp", "CONFIG_SECCOMP_FILTER"),
        ({"tmpfs": ()}, "tmpfs", "mount"),
        ({"runtimes": {}}, "runtime", "apt install crun"),
        ({"wanted_runtime": "/opt/kata"}, "runtime", "apt install"),
        ({"programs": without("catatonit")}, "catatonit", "apt install catatonit"),
        ({"programs": without("git")}, "git", "apt install git"),
        ({"programs": without("mmdebstrap")}, "mmdebstrap", "apt install mmdebstrap"),
        ({"authorities": False}, "authorities", "apt install ca-certificates"),
    ],
)
def test_what_a_host_lacks_is_a_failure_that_says_what_to_do(change: dict[str, Any], name: str, word: str) -> None:
    assert word in finding(replace(HEALTHY, **change), name, state=State.FAIL).do


@pytest.mark.parametrize(
    ("change", "name", "word"),
    [
        ({"path": "/srv/a:b"}, "state directory", "CLOISTER_STATE"),
        ({"owner": 1000}, "state directory", "chown 0"),
        ({"filesystem": "overlay"}, "overlay", "ext4"),
        ({"filesystem": "nfs4"}, "overlay", "ext4"),
        ({"overlay_error": "mount: unknown filesystem type 'overlay'"}, "overlay", "modprobe overlay"),
        ({"free_bytes": LEAST_FREE_BYTES - 1}, "disk space", "make room"),
        ({"free_inodes": LEAST_FREE_INODES - 1}, "inodes", "make room"),
    ],
)
def test_a_state_directory_that_cannot_hold_disks_is_a_failure(change: dict[str, Any], name: str, word: str) -> None:
    facts = replace(HEALTHY, state=replace(HEALTHY.state, **change))
    assert word in finding(facts, name, state=State.FAIL).do


@pytest.mark.parametrize(
    ("change", "name", "word"),
    [
        ({"catching_error": "libnftables.so.1 is not installed"}, CATCHING, "apt install nftables"),
        ({"catching_error": "Error: No such file or directory"}, CATCHING, "modprobe -a nft_chain_nat nft_redir"),
        ({"programs": without("newuidmap")}, "newuidmap", "apt install uidmap"),
        ({"programs": without("skopeo")}, "skopeo", "apt install skopeo"),
        ({"programs": without("ssh")}, "ssh", "apt install openssh-client"),
        ({"unreadable_trust": "/root/corp.pem"}, "authorities", "everybody"),
        ({"counts_swap": False}, "memory limits", "swapaccount=1"),
        ({"open_files": 1024}, "open files", "LimitNOFILE"),
        ({"user_namespaces": 100}, "user namespaces", "sysctl"),
        ({"inotify_instances": 16}, "inotify instances", "sysctl"),
        ({"state": replace(HEALTHY.state, mode=0o755)}, "state directory", "chmod 0710"),
        ({"state": replace(HEALTHY.state, mode=0o760)}, "state directory", "chmod 0710"),
        ({"state": replace(HEALTHY.state, free_bytes=5 * GIB)}, "disk space", "make room"),
        ({"state": replace(HEALTHY.state, filesystem="tmpfs")}, "overlay", "ext4"),
    ],
)
def test_what_only_weakens_is_a_warning(change: dict[str, Any], name: str, word: str) -> None:
    facts = replace(HEALTHY, **change)
    assert word in finding(facts, name, state=State.WARN).do
    assert State.FAIL not in {one.state for one in judge(facts)}


def test_a_runtime_with_an_open_hole_is_a_warning_with_the_place_to_look_for_back_ports() -> None:
    warning = finding(replace(HEALTHY, runtimes={"runc": RUNC}), "vulnerability", state=State.WARN)
    assert "CVE-2024-21626" in warning.what
    assert "security tracker" in warning.do


def test_a_hole_that_the_distribution_has_fixed_is_none() -> None:
    patched = replace(RUNC, fixed_by_distribution=frozenset({"CVE-2024-21626"}))
    findings = judge(replace(HEALTHY, runtimes={"runc": patched}))
    told = {one.what: one.state for one in findings if one.name == "vulnerability"}
    assert set(told.values()) == {State.OK}
    assert any(what.startswith("CVE-2024-21626: fixed") for what in told)


def test_auto_takes_the_runtime_that_the_backend_would() -> None:
    assert RUNTIMES == PREFERRED
    both = replace(HEALTHY, runtimes={"runc": RUNC, "crun": CRUN})
    assert finding(both, "runtime", state=State.OK).what.startswith("crun 1.31")
    named = replace(both, wanted_runtime="runc")
    assert finding(named, "runtime", state=State.OK).what.startswith("runc 1.1.11")


def test_a_healthy_host_is_told_of_nothing() -> None:
    assert [one.name for one in judge(HEALTHY) if one.state is not State.OK] == []
    assert all(kind in finding(HEALTHY, "namespaces", state=State.OK).what for kind in NAMESPACES)


def test_why_disks_are_not_held_to_their_size_is_said() -> None:
    refused = finding(replace(HEALTHY, volume_error="Permission denied: /dev/loop3"), "disk limits", state=State.WARN)
    assert "limits.inodes" in refused.what
    assert "/dev/loop3" in refused.what
    assert "loop devices" in refused.do
    lacking = finding(replace(HEALTHY, volume_error="mkfs.ext4 is not installed"), "disk limits", state=State.WARN)
    assert lacking.packages == ("e2fsprogs",)


def test_everything_that_is_not_well_says_what_to_do() -> None:
    broken = replace(HEALTHY, kernel="4.4", uid=5, tmpfs=(), runtimes={}, programs={}, cgroups="none", open_files=1)
    assert all(bool(one.do) == (one.state is not State.OK) for one in judge(broken))
