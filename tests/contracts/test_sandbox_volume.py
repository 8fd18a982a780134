"""Disks that are held to their size: how a snapshot leaves its volume, while others stand on it."""

import fcntl
import os
from pathlib import Path

import anyio
import pytest

from cloister.errors import DiskFullError, NotFoundError, RepositoryError
from cloister.model.environment import Limits
from cloister.model.sandbox import Checkout, Commit
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci import settling
from cloister.sandboxes.oci import snapshots as snapshots_module
from cloister.sandboxes.oci.backend import OciBackend
from cloister.sandboxes.oci.disk import Disk
from cloister.sandboxes.oci.mounts import mounts_below
from cloister.sandboxes.oci.volume import Volumes, mounted_at

from .rig import Rig, Script

KEY = SnapshotKey("5" * 64)
MIB = 2**20
LOOP_SET_CAPACITY = 0x4C07
WRITE = "mkdir /opt/d; echo kept >/opt/d/file; ln /opt/d/file /opt/d/again; rm -r /usr/share/doc; mkdir /usr/share/doc"
LOOK = "cat /opt/d/file; stat -c %h /opt/d/again; ls /usr/share/doc; cat README"
SHOWN = b"kept\n2\nhello\n"


def backend_of(rig: Rig) -> OciBackend:
    assert isinstance(rig.backend, OciBackend)
    return rig.backend


async def kept(rig: Rig) -> Path:
    """Keep a disk from a sandbox that goes on; return where."""
    sandbox = await rig.create()
    await sandbox.checkout(rig.checkout(branch="main"))
    await rig.run(sandbox, Script(text=WRITE), id="setup")
    await sandbox.checkout(rig.checkout(branch="main"))
    assert await sandbox.snapshot(KEY)
    return backend_of(rig)._node.paths.snapshots / KEY


async def look(rig: Rig, name: str, *, id: str) -> bytes:
    sandbox = await rig.create(name, snapshot=KEY)
    await sandbox.checkout(rig.checkout())
    script = Script(text=f"cd /workspace/shop; {LOOK}; echo {id} >>/root/mine; cat /root/mine")
    return (await rig.run(sandbox, script, id=id))[1]


async def settled(place: Path) -> None:
    with anyio.fail_after(30):
        while (place / "volume").exists() or not (place / "size").exists():  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_who_stands_on_a_snapshot_does_not_notice_that_it_leaves_its_volume(
    oci_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, waiting = oci_rig, []
    monkeypatch.setattr(snapshots_module, "begin_to_settle", lambda *asked: waiting.append(asked))
    place = await kept(rig)
    assert await look(rig, "one", id="first") == SHOWN + b"first\n"
    assert await look(rig, "other", id="first") == SHOWN + b"first\n"
    assert len(mounts_below(place)) == 1
    assert rig.backend.not_enforced == ()
    [asked] = waiting
    settling.begin_to_settle(*asked)
    await settled(place)
    assert mounts_below(place) == []
    for name in ("one", "other"):  # each mounts its disk anew meanwhile
        assert await look(rig, name, id="second") == SHOWN + b"first\nsecond\n"
    assert await look(rig, "third", id="first") == SHOWN + b"first\n"
    assert "image" not in {entry.name for entry in place.iterdir()}


async def test_a_patch_on_a_snapshot_writes_what_it_names_and_no_other_file(oci_rig: Rig) -> None:
    await settled(await kept(oci_rig))  # so that git knows none of its files by their times
    sandbox = await oci_rig.create("other", snapshot=KEY)
    await sandbox.checkout(oci_rig.checkout(patch=b"--- a/README\n+++ b/README\n@@ -1 +1 @@\n-hello\n+goodbye\n"))
    change = await sandbox.changes(oci_rig.main)
    assert change.paths == ("README",)
    assert await sandbox.left_behind(change) == []


async def test_what_was_not_finished_is_by_the_next_process(oci_rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(snapshots_module, "begin_to_settle", lambda *asked: None)
        place = await kept(oci_rig)
    (place / "layers.draft" / "0" / "half").mkdir(parents=True)
    await oci_rig.reopen()
    await settled(place)
    assert not (place / "layers" / "0" / "half").exists()
    assert await look(oci_rig, "other", id="first") == SHOWN + b"first\n"


async def test_one_that_is_removed_leaves_no_mount_whether_it_left_its_volume_or_not(
    oci_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = oci_rig
    monkeypatch.setattr(snapshots_module, "begin_to_settle", lambda *asked: None)
    place = await kept(rig)
    await rig.backend.destroy(rig.name())
    await rig.backend.remove_snapshot(KEY)
    await backend_of(rig)._node.trash.wait()
    assert not place.exists()
    assert mounts_below(backend_of(rig)._node.paths.state) == []
    with pytest.raises(NotFoundError):
        backend_of(rig)._node.snapshots.settle(KEY)


async def test_after_a_reboot_one_that_was_still_in_its_volume_is_gone(
    oci_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots_module, "begin_to_settle", lambda *asked: None)
    place = await kept(oci_rig)
    await oci_rig.backend.destroy(oci_rig.name())
    for module in ("snapshots", "snapshot_marker", "volume"):
        monkeypatch.setattr(f"cloister.sandboxes.oci.{module}.boot_id", lambda: "another")
    await oci_rig.reopen()
    assert not await oci_rig.backend.has_snapshot(KEY)
    assert not place.exists()


async def test_a_disk_of_its_own_is_found_by_the_next_process_and_is_as_full(oci_rig: Rig) -> None:
    rig, limits = oci_rig, Limits(disk_bytes=64 * MIB)
    fill = "head -c 40M /dev/urandom >/root/big && echo fits"
    sandbox = await rig.create(limits=limits)
    assert (await rig.run(sandbox, Script(text=fill)))[1] == b"fits\n"
    await rig.reopen()
    sandbox = await rig.create(limits=limits)
    again = await rig.run(sandbox, Script(text=f"ls /root; {fill.replace('big', 'more')}"), id="again")
    assert again[1] == b"big\n"


async def test_where_there_are_no_volumes_disks_are_directories_and_that_is_said(
    oci_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Volumes, "find_error", lambda self: "Permission denied: /dev/loop-control")
    await oci_rig.reopen()
    assert oci_rig.backend.not_enforced == ("limits.disk", "limits.inodes")
    place = await kept(oci_rig)
    assert (place / "layers").exists()
    assert await look(oci_rig, "other", id="first") == SHOWN + b"first\n"
    assert mounts_below(backend_of(oci_rig)._node.paths.state) == []


async def test_what_the_host_could_not_write_is_not_taken_for_what_the_sandbox_wrote(
    oci_rig: Rig, tmp_path: Path
) -> None:
    """The twin: as long as nothing was lost, the same checkout fails for its own reason."""
    rig, absent = oci_rig, Checkout(commit=Commit("a" * 40), branch="b", origin="https://example.com/shop.git")
    sandbox = await rig.create(limits=Limits(disk_bytes=64 * MIB))
    place = Disk.find(backend_of(rig)._node.paths.disk(rig.name()))
    assert place is not None
    await rig.run(sandbox, Script(text="head -c 1M /dev/urandom >/root/small"), id="small")
    with pytest.raises(RepositoryError):
        await sandbox.checkout(absent)
    await rig.run(sandbox, Script(text="head -c 8M /dev/urandom >/root/lost"), id="lost")
    shrink_device(place.volume)
    await anyio.run_process(["sync", "--file-system", str(mounted_at(place.volume))], check=False)
    with pytest.raises(DiskFullError):
        await sandbox.checkout(absent)


def shrink_device(volume: Path) -> None:
    """Let every write behind the first mebibyte fail, as on a host whose disk is full."""
    number = os.minor(mounted_at(volume).stat().st_dev)
    os.truncate(volume / "image", MIB)
    with Path(f"/dev/loop{number}").open("rb") as device:
        fcntl.ioctl(device, LOOP_SET_CAPACITY)
