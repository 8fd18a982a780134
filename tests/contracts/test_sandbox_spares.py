"""Spare berths: a sandbox that has one is like any other, no two have the same, and none outlives its process."""

import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from cloister.errors import HostError
from cloister.model.environment import Limits
from cloister.sandboxes.oci import spares as spares_module
from cloister.sandboxes.oci.backend import OciBackend
from cloister.sandboxes.oci.mounts import mounts_below
from cloister.sandboxes.oci.network import in_namespace
from cloister.sandboxes.oci.paths import NodePaths

from .rig import Rig, Script

OTHER = Limits(disk_bytes=64 * 2**20, inodes=2000)
LOOK = "cat /proc/net/dev /proc/net/route /proc/sys/net/ipv4/ip_unprivileged_port_start; df -h --output=size,itotal /"
KEEPER = """
import anyio, sys
from pathlib import Path
from cloister.sandboxes.oci.backend import open_backend
from cloister.sandboxes.oci.image import OciImageStore

async def main():
    async with open_backend(Path(sys.argv[1]), OciImageStore(Path(sys.argv[1]))) as backend:
        await backend.spares.keep(1)

anyio.run(main)
"""


def backend_of(rig: Rig) -> OciBackend:
    assert isinstance(rig.backend, OciBackend)
    return rig.backend


def paths_of(rig: Rig) -> NodePaths:
    return backend_of(rig)._node.paths


def spares_of(rig: Rig) -> Sequence[Path]:
    """Spares of any process that are whole: volume and namespace are mounted."""
    volumes = {Path(mount).parts[-4] for mount in mounts_below(paths_of(rig).spare_disks)}
    namespaces = [Path(mount).parent for mount in mounts_below(paths_of(rig).spare_sandboxes)]
    return sorted(place for place in namespaces if place.name in volumes)


@asynccontextmanager
async def keeping(rig: Rig, most: int = 1) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(backend_of(rig).spares.keep, most)
        await ready(rig, most)
        yield
        group.cancel_scope.cancel()


async def ready(rig: Rig, count: int) -> None:
    """Wait until the process has them for itself."""
    with anyio.fail_after(30):
        while len(backend_of(rig).spares._ready) != count:  # noqa: ASYNC110
            await anyio.sleep(0.02)


def inode_of_namespace(rig: Rig, name: str) -> int:
    return (paths_of(rig).sandbox(rig.name(name)) / "netns").stat().st_ino


async def test_a_sandbox_that_has_a_spare_is_like_one_that_was_made_on_demand(oci_rig: Rig) -> None:
    """And what one did to its own is nowhere in the next one's."""
    rig, seen = oci_rig, {}
    async with keeping(rig):
        [spare] = spares_of(rig)
        spared = (spare / "netns").stat().st_ino
        sandbox = await rig.create("one")
        assert inode_of_namespace(rig, "one") == spared, "it was moved into its place"
        assert not spare.exists()
        seen["spare"] = await rig.run(sandbox, Script(text=f"{LOOK}; echo mine >/root/mine; ls /root"))
        rules = in_namespace(paths_of(rig).sandbox(rig.name("one")) / "netns", _rules)
        await ready(rig, 1)
        await rig.create("two")
        assert inode_of_namespace(rig, "two") != spared
    sandbox = await rig.create("three")
    assert seen["spare"] == await rig.run(sandbox, Script(text=f"{LOOK}; echo mine >/root/mine; ls /root"))
    assert rules == in_namespace(paths_of(rig).sandbox(rig.name("three")) / "netns", _rules)
    assert "reject with icmpx" in rules


def _rules() -> str:
    return subprocess.run(["nft", "list", "ruleset"], check=True, capture_output=True, text=True).stdout


async def test_limits_hold_whatever_size_the_spares_have(oci_rig: Rig) -> None:
    async with keeping(oci_rig):
        small = await oci_rig.create("one", limits=OTHER)
        size = (await oci_rig.run(small, Script(text="df --output=itotal / | tail -1")))[1]
        assert int(size) < 3000, "made on demand, since the spare was another size"
        await ready(oci_rig, 1)
        [spare] = spares_of(oci_rig)
        spared = (spare / "netns").stat().st_ino
        await oci_rig.create("two", limits=OTHER)
        assert inode_of_namespace(oci_rig, "two") == spared, "the next spare is as large as the last start wanted"


async def test_none_is_left_when_nobody_keeps_them(oci_rig: Rig) -> None:
    async with keeping(oci_rig, 2):
        assert len(spares_of(oci_rig)) == 2
    await backend_of(oci_rig)._node.trash.wait()
    for place in (paths_of(oci_rig).spare_disks, paths_of(oci_rig).spare_sandboxes):
        assert list(place.iterdir()) == []
        assert mounts_below(place) == []


async def test_a_start_does_without_where_none_can_be_made(oci_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = anyio.Event()

    def fail(*arguments: object) -> None:
        anyio.from_thread.run_sync(tried.set)
        raise HostError("no space")

    monkeypatch.setattr(spares_module, "make_berth", fail)
    async with anyio.create_task_group() as group:
        group.start_soon(backend_of(oci_rig).spares.keep, 1)
        await tried.wait()
        sandbox = await oci_rig.create()
        assert (await oci_rig.run(sandbox, Script(text="echo ran")))[1] == b"ran\n"
        group.cancel_scope.cancel()


async def test_those_of_a_killed_process_go_with_the_next_one_that_opens(oci_rig: Rig) -> None:
    """The twin: as long as it lives, whoever opens the node beside it leaves them alone."""
    rig = oci_rig
    async with await anyio.open_process([sys.executable, "-c", KEEPER, str(paths_of(rig).state)]) as keeper:
        try:
            with anyio.fail_after(60):
                while not spares_of(rig):  # noqa: ASYNC110
                    await anyio.sleep(0.02)
            there = mounts_below(paths_of(rig).spare_disks)
            assert len(there) == 1
            await rig.reopen()
            assert (len(spares_of(rig)), mounts_below(paths_of(rig).spare_disks)) == (1, there)
        finally:
            keeper.kill()
    assert (len(spares_of(rig)), mounts_below(paths_of(rig).spare_disks)) == (1, there)
    await rig.reopen()
    await backend_of(rig)._node.trash.wait()
    for place in (paths_of(rig).spare_disks, paths_of(rig).spare_sandboxes):
        assert list(place.iterdir()) == []
        assert mounts_below(place) == []
