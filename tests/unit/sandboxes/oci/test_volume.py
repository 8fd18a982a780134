"""File systems in files, where a mistake would stop the host's own, unmount somebody else's, or lose what was kept."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloister.errors import DiskFullError, HostError
from cloister.model.environment import Limits
from cloister.sandboxes.oci import loop, syscalls, volume
from cloister.sandboxes.oci.mounts import mounts_below
from cloister.sandboxes.oci.settling import copy_out
from cloister.sandboxes.oci.trash import Trash
from cloister.sandboxes.oci.volume import Volumes, find_volume_error, give_up, mounted_at, used_up

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")

MIB = 2**20
SMALL = Limits(disk_bytes=16 * MIB, inodes=1024)


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[Volumes]:
    made = Volumes(tmp_path / "volumes")
    assert made.find_error() == ""
    yield made
    for mount in mounts_below(tmp_path):
        syscalls.unmount_all(mount)


def free_bytes(place: Path) -> int:
    space = os.statvfs(mounted_at(place))
    return space.f_bavail * space.f_frsize


def device_of(place: Path) -> Path:
    number = mounted_at(place).stat().st_dev
    return Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/loop/backing_file")


@pytest.mark.parametrize(
    ("mebibytes", "inodes"), [(16, 1024), (64, 10_000_000), (1024, 1_000_000), (10_240, 1_000_000)]
)
def test_there_is_room_for_what_was_asked_and_not_for_more(
    volumes: Volumes, tmp_path: Path, mebibytes: int, inodes: int
) -> None:
    place = tmp_path / "v"
    volumes.make(place, Limits(disk_bytes=mebibytes * MIB, inodes=inodes))
    space = os.statvfs(mounted_at(place))
    assert 0.97 <= free_bytes(place) / (mebibytes * MIB) <= 1
    most = min(inodes, mebibytes * MIB // 4096)
    assert most - 20 <= space.f_favail <= most * 1.05
    assert (place / "image").stat().st_blocks * 512 < MIB, "nothing is taken that nobody wrote"


def test_one_that_is_larger_than_the_host_is_as_large_as_that(volumes: Volumes, tmp_path: Path) -> None:
    volumes.make(tmp_path / "v", Limits(disk_bytes=2**50))
    here = os.statvfs(tmp_path)
    assert 0.9 <= free_bytes(tmp_path / "v") / (here.f_blocks * here.f_frsize) <= 1


def test_what_is_used_up_has_a_name(volumes: Volumes, tmp_path: Path) -> None:
    place = tmp_path / "v"
    volumes.make(place, SMALL)
    assert used_up(place) is None
    with pytest.raises(OSError, match="No space left"):
        for number in range(2000):
            (mounted_at(place) / str(number)).touch()
    assert used_up(place) == "limits.inodes"
    (mounted_at(place) / "0").unlink()
    with (mounted_at(place) / "1").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:  # small pieces: a large one that does not fit whole may leave room
            file.write(bytes(4096))
    assert used_up(place) == "limits.disk"
    assert used_up(tmp_path / "none") is None


def test_one_that_is_given_up_takes_no_space_whoever_has_it_mounted(
    volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, copy = tmp_path / "v", tmp_path / "copy"
    volumes.make(place, SMALL)
    copy.mkdir()
    syscalls.mount(str(mounted_at(place)), str(copy), "", syscalls.MS_BIND)
    (mounted_at(place) / "file").write_bytes(os.urandom(8 * MIB))
    os.sync()
    assert (place / "image").stat().st_blocks * 512 > 8 * MIB
    give_up(place)
    (copy / "more").write_text("so little is not worth it")
    monkeypatch.setattr(volume, "_LITTLE_BYTES", 4 * MIB)
    give_up(place)
    assert (place / "image").stat().st_blocks == 0
    with pytest.raises(OSError, match="Input/output error"):
        (copy / "more").write_text("x")


def test_no_file_system_but_that_of_the_file_is_ever_stopped(
    volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stands for the host's: a place in it that looks like a volume, and is not mounted."""
    monkeypatch.setattr(volume, "_LITTLE_BYTES", -1)
    host = tmp_path / "host"
    volumes.make(host, SMALL)
    place = mounted_at(host) / "v"
    mounted_at(place).mkdir(parents=True)
    (place / "image").write_text("precious")
    give_up(place)
    assert (place / "image").read_text() == "precious"
    give_up(host)
    with pytest.raises(OSError, match="Input/output error"):
        (place / "image").write_text("x")


async def test_trash_unmounts_what_it_takes_and_follows_no_link(volumes: Volumes, tmp_path: Path) -> None:
    (tmp_path / "trash").mkdir()
    trash = Trash(tmp_path / "trash")
    mine, other, evil = (tmp_path / name for name in ("mine", "other", "evil"))
    for place in (mine / "kept/volume", other / "kept/volume"):
        volumes.make(place, SMALL)
    device = device_of(mine / "kept/volume")
    evil.mkdir()
    (evil / "kept").symlink_to(other / "kept")
    (evil / "fs").symlink_to(mounted_at(other / "kept/volume"))
    link = tmp_path / "link"
    link.symlink_to(other)
    assert mounts_below(other), "the twin: by its own name it is found"
    assert mounts_below(link) == [], "a link in a grave is none of those"
    for place in (mine, evil, link):
        trash.throw(place)
    await trash.wait()
    assert list((tmp_path / "trash").iterdir()) == []
    assert not device.exists(), "its loop device went with it"
    assert mounts_below(tmp_path) == [str(mounted_at(other / "kept/volume"))]


async def test_what_was_mounted_when_we_were_killed_is_swept(volumes: Volumes, tmp_path: Path) -> None:
    left = tmp_path / "trash" / "left with a space"
    volumes.make(left / "volume", SMALL)
    trash = Trash(tmp_path / "trash")
    trash.sweep()
    await trash.wait()
    assert mounts_below(tmp_path) == []
    assert not left.exists()


ATTACH = """
import os, signal, sys
from cloister.sandboxes.oci import loop
loop.syscalls.mount = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
loop.mount_file(loop.Path(sys.argv[1]), loop.Path("/nowhere"))
"""


def test_one_that_was_killed_before_it_mounted_leaves_no_device(volumes: Volumes, tmp_path: Path) -> None:
    volumes.make(tmp_path / "v", SMALL)
    copy = tmp_path / "copy"
    loop.copy_sparse(tmp_path / "v" / "image", copy)
    ended = subprocess.run([sys.executable, "-c", ATTACH, str(copy)], check=False)
    assert ended.returncode == -signal.SIGKILL
    shown = [file.read_text().strip() for file in Path("/sys/block").glob("loop*/loop/backing_file")]
    assert str(tmp_path / "v" / "image") in shown, "it would have been seen"
    assert str(copy) not in shown


def test_layers_leave_their_volume_as_they_are(volumes: Volumes, tmp_path: Path) -> None:
    place, canary = tmp_path / "snapshot", tmp_path / "canary"
    volumes.make(place / "volume", SMALL)
    mounted = mounted_at(place / "volume")
    layer = mounted / "layers" / "0"
    (layer / "folder").mkdir(parents=True)
    canary.write_text("secret")
    os.mknod(layer / "whiteout", 0o600 | 0o020000, os.makedev(0, 0))
    os.setxattr(layer / "folder", "trusted.overlay.opaque", b"y")
    (layer / "link").symlink_to(canary)
    (layer / "one").write_text("text")
    (layer / "two").hardlink_to(layer / "one")
    os.chown(layer / "one", 100_007, 100_008)
    (layer / "one").chmod(0o4755)
    os.utime(layer / "one", ns=(1, 2))
    assert copy_out(place, mounted)
    moved = place / "layers" / "0"
    assert (moved / "whiteout").stat().st_rdev == 0
    assert (moved / "whiteout").is_char_device()
    assert os.getxattr(moved / "folder", "trusted.overlay.opaque") == b"y"
    assert (moved / "link").readlink() == canary
    found = (moved / "one").stat()
    assert found.st_ino == (moved / "two").stat().st_ino
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777, found.st_mtime_ns) == (100_007, 100_008, 0o4755, 2)
    (moved / "one").unlink()
    assert copy_out(place, mounted), "a second time does nothing"
    assert not (moved / "one").exists()


def test_layers_that_cannot_be_copied_stay_where_they_are(volumes: Volumes, tmp_path: Path) -> None:
    place, host = tmp_path / "host", Limits(disk_bytes=32 * MIB, inodes=1024)
    volumes.make(place, host)
    snapshot = mounted_at(place) / "snapshot"
    there = Volumes(mounted_at(place) / "volumes")
    assert there.find_error() == ""
    there.make(snapshot / "volume", SMALL)
    layer = mounted_at(snapshot / "volume") / "layers" / "0"
    layer.mkdir(parents=True)
    (layer / "file").write_bytes(os.urandom(10 * MIB))
    (mounted_at(place) / "filler").write_bytes(os.urandom(18 * MIB))
    assert not copy_out(snapshot, mounted_at(snapshot / "volume"))
    assert not (snapshot / "layers").exists()
    (mounted_at(place) / "filler").unlink()
    assert copy_out(snapshot, mounted_at(snapshot / "volume"))


def test_a_volume_that_is_not_mounted_here_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    mounted_at(tmp_path / "volume").mkdir(parents=True)
    assert not copy_out(tmp_path, mounted_at(tmp_path / "volume"))
    assert not (tmp_path / "layers").exists()


def test_a_host_that_cannot_is_told_why(volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_volume_error(tmp_path) == ""
    assert mounts_below(tmp_path) == []
    with monkeypatch.context() as broken:
        broken.setattr(loop, "_MAKER", "mkfs.not-there")
        assert find_volume_error(tmp_path) == "mkfs.not-there is not installed"
    with monkeypatch.context() as broken:
        broken.setattr(volume, "mount_file", _raising(errno.EPERM))
        assert find_volume_error(tmp_path) == "Operation not permitted: /dev/loop7"
        with pytest.raises(HostError, match="/dev/loop7"):
            volumes.make(tmp_path / "v", SMALL)


def test_a_host_that_is_full_is_no_host_without_limits(
    volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "mount_file", _raising(errno.ENOSPC))
    assert Volumes(tmp_path / "others").find_error() == ""
    with pytest.raises(DiskFullError):
        volumes.make(tmp_path / "v", SMALL)


def test_it_is_tried_once_in_a_boot(volumes: Volumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volume, "mount_file", _raising(errno.EPERM))
    assert volumes.find_error() == ""
    monkeypatch.setattr(volume, "boot_id", lambda: "another")
    assert volumes.find_error() != ""


def _raising(number: int) -> Callable[..., str]:
    def mount(*arguments: object) -> str:
        raise OSError(number, os.strerror(number), "/dev/loop7")

    return mount
