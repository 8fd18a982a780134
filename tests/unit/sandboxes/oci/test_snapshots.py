"""Kept disks, where what is said of them and what is there come apart."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloister.errors import ConflictError, NotFoundError
from cloister.model.sandbox import Commit
from cloister.model.snapshot import SnapshotKey
from cloister.sandboxes.oci import snapshots as module
from cloister.sandboxes.oci.disk import Disk, DiskState
from cloister.sandboxes.oci.paths import NodePaths
from cloister.sandboxes.oci.snapshots import MARKER, Snapshots
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
        ("damaged", "{"),
        ("lost", '{"image": "i", "commit": "c", "layers": 0, "boot_id": "x"}'),
    ):
        (paths.snapshots / name).mkdir()
        if marker is not None:
            (paths.snapshots / name / MARKER).write_text(marker)
    kept.sweep()
    assert [place.name for place in paths.snapshots.iterdir()] == [KEY]


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
