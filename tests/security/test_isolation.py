"""S1: how a sandbox is kept apart from the host, seen from inside, by both runtimes."""

import hashlib
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from cloister.errors import HostError
from cloister.sandboxes.oci.process import OciProcess
from cloister.sandboxes.oci.seccomp import ALLOWED

from ..system.leftovers import pids_of
from .cells import PROBES, Block, Cell

GOLDEN = Path(__file__).with_name("isolation.json")


async def test_what_is_seen_inside_is_the_golden_file(cell: Cell) -> None:
    seen = json.loads((await cell.probe("isolation.py")).stdout)
    del seen["namespaces"]
    # crun 1.8 forgets the flags of writable binds; those of the volume that /tmp is bound from stay.
    seen["mounts"]["/tmp"] = seen["mounts"]["/tmp"].replace("ext4", "disk")
    for target in ("/sys", "/cloister/mirror.git"):
        seen["mounts"][target] = seen["mounts"][target].replace("ext4", "disk")
    assert seen == json.loads(GOLDEN.read_text())


async def test_the_probe_sees_what_is_not_kept_apart() -> None:
    """The twin: on the host the same program sees nearly everything differently."""
    seen, golden = json.loads(await _on_the_host("isolation.py")), json.loads(GOLDEN.read_text())
    same = {name for name in golden if seen[name] == golden[name]}
    assert same <= {"ids", "descriptors", "limits", "cgroups"}
    assert seen["revealed"] and seen["writable"]


async def test_no_namespace_is_the_hosts_or_another_containers(cell: Cell) -> None:
    process = await cell.start("readlink /proc/self/ns/*; exec sleep 600")
    first = await _first_chunk(process)
    second = json.loads((await cell.probe("isolation.py")).stdout)["namespaces"]
    host = {str(path.readlink()) for path in Path("/proc/self/ns").iterdir()}
    assert _kinds(set(second.values()) & host) == {"time"}
    assert _kinds(set(second.values()) & set(first.split())) == {"time", "net"}
    await process.stop()


async def test_root_inside_is_an_unprivileged_user_of_the_host(cell: Cell) -> None:
    process = await cell.start("id -u; exec sleep 600")
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids_of(cell.sandbox.name)}
    assert owners == {1_000_000_000}
    await process.stop()


async def test_a_container_is_in_groups_of_its_own(cell: Cell) -> None:
    process = await cell.start("echo ready; exec sleep 600")
    for pid in pids_of(cell.sandbox.name):
        groups = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in _lines(pid, "cgroup")}
        controllers = {name: group for name, group in groups.items() if name in ("memory", "pids", "cpu,cpuacct")}
        assert set(controllers.values() or groups.values()) == {f"/cloister.{cell.sandbox.name}.c1"}
    await process.stop()


async def test_denied_system_calls_do_nothing(cell: Cell) -> None:
    seen = json.loads((await cell.probe("system_calls.py")).stdout)
    assert {name: result for name, result in seen["calls"].items() if result != "ENOSYS"} == {}
    assert {name: result for name, result in seen["sockets"].items() if result != "ENOSYS"} == {}
    assert seen["32-bit"] == "SIGSYS"
    assert seen["allowed"] == {"ioctl(FIONREAD)": True, "ptrace": [True, 7], "socket": True}


async def test_the_same_system_calls_reach_the_kernel_without_the_profile() -> None:
    """The twin. What this kernel lacks altogether is said by it, so it may be missing here."""
    apart = ("unshare", "--user", "--map-root-user", "--net")
    seen = json.loads(await _on_the_host("system_calls.py", before=apart))
    lacking = {name for name, result in seen["calls"].items() if result == "ENOSYS"}
    assert lacking <= {"kexec_load", "kexec_file_load", "userfaultfd", "fanotify_init", "quotactl", "syslog"} | {
        name for name in seen["calls"] if "module" in name or "key" in name or "io_uring" in name
    }
    assert "ENOSYS" not in seen["sockets"].values()
    assert seen["32-bit"] in ("exit 0", "SIGSEGV")


def test_the_profile_and_the_probe_name_the_same_calls() -> None:
    source = (PROBES / "system_calls.py").read_text()
    listed = {line.split('"')[1] for line in source.splitlines() if line.startswith('    "') and ": (" in line}
    assert {name for name in listed if "(" not in name} & set(ALLOWED) == set()


@pytest.mark.parametrize("number", [3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
async def test_no_descriptor_of_the_runtime_leads_out(cell: Cell, number: int) -> None:
    """CVE-2024-21626: a working directory through a descriptor that the runtime forgot to close."""
    try:
        printed = await cell.sh("cat ../../../../../../etc/hostname; pwd -P", cwd=f"/proc/self/fd/{number}")
    except HostError:
        return
    assert printed.stdout in ("", "cloister\n/\n", f"cloister\n/proc/1/fd/{number}\n"), printed


async def test_programs_of_the_host_cannot_be_written_through_proc(cell: Cell) -> None:
    """CVE-2019-5736: `/proc/self/exe` of whatever of the host's runs inside."""
    programs = {name: _digest(name) for name in ("crun", "runc", "catatonit")}
    own = "/tmp/script"
    script = (
        f"printf '#!/proc/self/exe\\n' >{own}; chmod +x {own}; {own}; "
        "for p in /proc/1/exe /proc/self/exe /cloister/init; do "
        "  (echo x >>$p) 2>/dev/null && echo written $p; done; "
        "cp /bin/true /tmp/mine; (echo x >>/tmp/mine) && echo written mine; exit 0"
    )
    printed = await cell.sh(script)
    assert printed.stdout == "written mine\n", "the twin: a program of its own can be written"
    assert {name: _digest(name) for name in programs} == programs


async def test_the_hosts_sockets_are_not_reached(cell: Cell) -> None:
    name = f"cloister-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as abstract, socket.create_server(("127.0.0.1", 0)) as tcp:
        abstract.bind(f"\0{name}")
        abstract.listen()
        address = (name, str(tcp.getsockname()[1]))
        inside = await cell.probe("sockets.py", *address)
        outside = await _on_the_host("sockets.py", *address)
    assert inside.stdout == "ConnectionRefusedError\n" * 2
    assert outside == "reached\n" * 2, "the twin"


async def test_the_hosts_devices_stay_as_they_are(block: Block) -> None:
    devices = [Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom", "tty")]
    before = [_ownership(path) for path in devices]
    cell = await block.cell()
    for _ in range(20):
        await cell.sh("cd /dev; chmod 0 *; chown 1:1 *; setfacl -m u:1:rwx null; mv null x; echo >x; rm -f zero")
    assert [_ownership(path) for path in devices] == before


async def test_nothing_of_the_hosts_environment_comes_in(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOISTER_CANARY", "canary")
    printed = await cell.sh("cat /proc/*/environ; cat /proc/1/fdinfo/* | wc -l", variables={"A": "1"})
    assert "canary" not in printed.stdout
    assert os.environ["HOME"] == "/root" or os.environ["HOME"] not in printed.stdout


async def _first_chunk(process: OciProcess) -> str:
    async with aclosing(process.output()) as output:
        return (await anext(output)).data.decode()


async def _on_the_host(probe: str, *arguments: str, before: Sequence[str] = ()) -> str:
    """What the same probe prints outside."""
    done = await anyio.run_process([*before, sys.executable, str(PROBES / probe), *arguments])
    return done.stdout.decode()


def _kinds(namespaces: set[str]) -> set[str]:
    return {name.split(":")[0] for name in namespaces}


def _lines(pid: int, file: str) -> list[str]:
    return Path(f"/proc/{pid}/{file}").read_text().splitlines()


def _digest(program: str) -> str:
    path = shutil.which(program)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


def _ownership(path: Path) -> tuple[int, int, int, int]:
    status = path.stat()
    return status.st_mode, status.st_uid, status.st_gid, status.st_rdev
