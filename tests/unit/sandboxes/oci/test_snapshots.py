"""Kept disks, where what is said of them and what is there come apart."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from cloister.errors import ConflictError, NotFoundError
from cloister.model.sandbox import Commit
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci import snapshots as module
from cloister.sandboxes.oci.disk import Disk, DiskState
from cloister.sandboxes.oci.paths import NodePaths
from cloister.sandboxes.oci.snapshot_digest import DIGEST
from cloister.sandboxes.oci.snapshot_marker import MARKER
from cloister.sandboxes.oci.snapshots import Snapshots
from cloister.sandboxes.oci.trash import Trash

KEY = SnapshotKey("k" * 64)
OLD, NEW = Commit("a" * 40), Commit("b" * 40)


@pytest.fixture
def paths(tmp_path: Path) -> NodePaths:
    paths = NodePaths(state=tmp_path, runtime=tmp_path / "runtime")
    for directory in (paths.disks, paths.snapshots, paths.trash):
        directory.mkdir()
    return paths


@pytest.fixture
async def kept(paths: NodePaths) -> AsyncIterator[Snapshots]:
    trash = Trash(paths.trash)
    yield Snapshots(paths, trash)
    await trash.wait()


def made_disk(paths: NodePaths, name: str) -> Disk:
    disk = Disk.create(paths.disk(name), DiskState(image="i"), owner=0)  # type: ignore[arg-type]
    disk.seal(owner=0)
    disk.git.mkdir()
    (disk.git / "HEAD").touch()
    return disk


async def test_a_late_sync_says_nothing_of_a_newer_disk(
    paths: NodePaths, kept: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.threading.Thread, "start", lambda thread: None)  # this sync comes late
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    late = kept.get(KEY)
    kept.remove(KEY)
    kept.keep(KEY, made_disk(paths, "two"), NEW)
    kept._sync(paths.snapshots / KEY, late)
    assert (kept.get(KEY).commit, kept.get(KEY).synced) == (NEW, False)
    kept._sync(paths.snapshots / KEY, kept.get(KEY))
    assert (kept.get(KEY).commit, kept.get(KEY).synced) == (NEW, True)


async def test_a_sync_that_fails_is_none(paths: NodePaths, kept: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.threading.Thread, "start", lambda thread: None)
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    with monkeypatch.context() as broken:
        broken.setattr(subprocess, "run", lambda *command, **options: subprocess.CompletedProcess(command, 1))
        kept._sync(paths.snapshots / KEY, kept.get(KEY))
    assert not kept.get(KEY).synced


async def test_what_is_no_snapshot_is_swept(paths: NodePaths, kept: Snapshots) -> None:
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    for name, marker in (
        ("half", None),
        ("lost", '{"image": "i", "commit": "c", "layers": 0, "boot_id": "x"}'),
    ):
        (paths.snapshots / name).mkdir()
        if marker is not None:
            (paths.snapshots / name / MARKER).write_text(marker)
    (paths.snapshots / "x.going").mkdir()
    kept.sweep()
    assert [place.name for place in paths.snapshots.iterdir()] == [KEY]


def _no_layer(place: Path) -> None:
    (place / "layers" / "0").rmdir()


def _file_for_a_layer(place: Path) -> None:
    _no_layer(place)
    (place / "layers" / "0").touch()


def _link_for_a_layer(place: Path) -> None:
    (place / "layers" / "0").rename(place / "elsewhere")
    (place / "layers" / "0").symlink_to(place / "elsewhere")


DAMAGES = {
    "no layer": (_no_layer, "layer 0 is missing"),
    "a file for a layer": (_file_for_a_layer, "layer 0 is missing"),
    "a link for a layer": (_link_for_a_layer, "layer 0 is missing"),
    "half a marker": (lambda place: (place / MARKER).write_text('{"image": "i", "com'), "its marker cannot be read"),
    "an empty marker": (lambda place: (place / MARKER).write_text(""), "its marker cannot be read"),
    "a marker of bytes": (lambda place: (place / MARKER).write_bytes(b"\xff\x00"), "its marker cannot be read"),
    "no git directory": (lambda place: shutil.rmtree(place / "git"), "its git directory is missing"),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damaged_one_is_told_of_outlives_a_sweep_and_is_replaced(
    paths: NodePaths, kept: Snapshots, name: str
) -> None:
    damage, told = DAMAGES[name]
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    assert kept.flaw(KEY) is None
    damage(paths.snapshots / KEY)
    kept.sweep()
    assert kept.flaw(KEY) == f"its disk is damaged: {told}"
    assert kept.find(KEY) is None and kept.keys() == [KEY]
    assert kept.keep(KEY, made_disk(paths, "two"), NEW)
    assert kept.get(KEY).commit == NEW


async def test_one_that_was_kept_under_laxer_rules_is_not_used(paths: NodePaths, kept: Snapshots) -> None:
    assert kept.keep(KEY, made_disk(paths, "a"), Commit("c" * 40))
    marker = paths.snapshots / KEY / "snapshot.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "rules": 0}))
    assert kept.flaw(KEY) == "its disk was kept under laxer rules"
    assert kept.find(KEY) is None


async def test_a_damaged_one_in_use_is_neither_removed_nor_replaced(paths: NodePaths, kept: Snapshots) -> None:
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    user = Disk.create(paths.disk("user"), DiskState(image="i", snapshot=KEY), owner=0)  # type: ignore[arg-type]
    shutil.rmtree(user.upper)  # as in the moment when a layer is sealed
    shutil.rmtree(paths.snapshots / KEY / "git")
    with pytest.raises(ConflictError):
        kept.remove(KEY)
    assert not kept.keep(KEY, made_disk(paths, "two"), NEW)
    shutil.rmtree(user.place)
    kept.remove(KEY)
    assert kept.flaw(KEY) == "its disk is gone"


async def test_a_sandbox_made_in_the_moment_of_the_removal_keeps_its_disk(
    paths: NodePaths, kept: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    rename = Path.rename

    def quick(place: Path, target: Path) -> Path:
        if place.name == KEY and not paths.disk("quick").exists():  # type: ignore[arg-type]
            Disk.create(paths.disk("quick"), DiskState(image="i", snapshot=KEY), owner=0)  # type: ignore[arg-type]
        return rename(place, target)

    monkeypatch.setattr(Path, "rename", quick)
    with pytest.raises(ConflictError):
        kept.remove(KEY)
    assert kept.find(KEY) is not None


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"image": "i", "unknown": 1}'])
async def test_a_disk_with_a_damaged_marker_was_never_finished(paths: NodePaths, kept: Snapshots, marker: str) -> None:
    disk = made_disk(paths, "one")
    assert Disk.find(disk.place) is not None
    (disk.place / "disk.json").write_text(marker)
    assert Disk.find(disk.place) is None
    kept.keep(KEY, made_disk(paths, "two"), OLD)
    kept.remove(KEY)
    assert kept.find(KEY) is None


async def test_what_somebody_reads_is_not_removed_by_any_process(paths: NodePaths, kept: Snapshots) -> None:
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    other = Snapshots(paths, kept._trash)
    with kept.held(KEY) as marker, other.held(KEY):
        assert marker.commit == OLD
        for somebody in (kept, other):
            with pytest.raises(ConflictError, match="being exported"):
                somebody.remove(KEY)
        assert kept.find(KEY) is not None
    other.remove(KEY)
    assert kept.find(KEY) is None
    other.remove(KEY)
    with pytest.raises(NotFoundError), kept.held(KEY):
        pass


async def test_the_former_layers_of_a_merged_one_stay_as_long_as_somebody_may_have_them_mounted(
    paths: NodePaths, kept: Snapshots
) -> None:
    upper = SnapshotKey("u" * 64)
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    disk = made_disk(paths, "two")
    disk.remember(replace(disk.state, snapshot=KEY))
    kept.keep(upper, disk, NEW)
    user = Disk.create(paths.disk("user"), DiskState(image="i", snapshot=upper), owner=0)  # type: ignore[arg-type]
    flat = paths.state / "made"
    flat.mkdir()
    assert not kept.replace_layers(upper, "another id", flat)
    assert kept.replace_layers(upper, kept.get(upper).id, flat)
    place = paths.snapshots / upper
    assert kept.layers(upper) == [place / "flat"]
    kept.sweep()
    assert (place / "layers").exists()
    with pytest.raises(ConflictError):
        kept.remove(KEY)
    shutil.rmtree(user.place)
    shutil.rmtree(disk.place)
    kept.sweep()
    assert not (place / "layers").exists()
    kept.remove(KEY)
    assert kept.find(upper) is not None and kept.keys() == [upper]


async def test_one_above_a_disk_that_was_made_anew_is_damaged(paths: NodePaths, kept: Snapshots) -> None:
    upper = SnapshotKey("u" * 64)
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    disk = made_disk(paths, "two")
    disk.remember(replace(disk.state, snapshot=KEY))
    kept.keep(upper, disk, NEW)
    assert kept.flaw(upper) is None
    shutil.rmtree(disk.place)
    (paths.snapshots / KEY).rename(paths.trash / "lower")  # and not removed: it is being counted
    assert kept.flaw(upper) == "the disk below it is gone"
    (paths.snapshots / upper).rename(paths.trash / "upper")
    kept.keep(upper, made_disk(paths, "three"), NEW)
    assert kept.flaw(upper) is None


async def test_a_digest_is_of_the_whole_stack_and_anew_when_that_is_merged(paths: NodePaths, kept: Snapshots) -> None:
    upper = SnapshotKey("u" * 64)
    kept.keep(KEY, made_disk(paths, "one"), OLD)
    disk = made_disk(paths, "two")
    disk.remember(replace(disk.state, snapshot=KEY))
    kept.keep(upper, disk, NEW)
    of_two = await digest_of(kept, upper)
    assert of_two not in (await digest_of(kept, KEY), None)
    (paths.snapshots / KEY / "layers/0/new").touch()
    assert [(checked.key, checked.changed) for checked in kept.check(upper)] == [(upper, False), (KEY, True)]
    (paths.snapshots / KEY / DIGEST).unlink()
    assert kept.digest(upper) is None
    flat = paths.state / "made"
    flat.mkdir()
    kept.replace_layers(upper, kept.get(upper).id, flat)
    assert await digest_of(kept, upper) != of_two
    assert [(checked.key, checked.changed) for checked in kept.check(upper)] == [(upper, False)]
    (paths.snapshots / upper / "flat/new").touch()
    assert [(checked.key, checked.changed) for checked in kept.check(upper)] == [(upper, True)]


async def digest_of(kept: Snapshots, key: SnapshotKey) -> str:
    with anyio.fail_after(30):
        while (digest := kept.digest(key)) is None:  # noqa: ASYNC110
            await anyio.sleep(0.02)
    return digest
