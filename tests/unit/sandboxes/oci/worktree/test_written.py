"""The list of what was written, against real overlays."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.errors import TaskFailedError
from cloister.sandboxes.oci.worktree.written import Written, WrittenKind, list_written, write_list

from .conftest import Disk


def kinds(disk: Disk) -> dict[bytes, WrittenKind]:
    return {written.path: written.kind for written in list_written(disk.upper, "project")}


def test_nothing(disk: Disk) -> None:
    assert list_written(disk.upper, "project") == []


def test_each_kind(disk: Disk) -> None:
    (disk.tree / "new").write_text("x")
    (disk.tree / "README").unlink()
    (disk.tree / "sym").symlink_to("/etc")
    os.mkfifo(disk.tree / "pipe")
    os.mknod(disk.tree / "null", 0o20666, os.makedev(1, 3))
    shutil.rmtree(disk.tree / "src")
    (disk.tree / "src").mkdir()
    assert kinds(disk) == {
        b"": WrittenKind.DIRECTORY,
        b"new": WrittenKind.FILE,
        b"README": WrittenKind.REMOVED,
        b"sym": WrittenKind.SYMLINK,
        b"pipe": WrittenKind.OTHER,
        b"null": WrittenKind.OTHER,
        b"src": WrittenKind.OPAQUE,
    }


def test_top_git_directory_is_left_out_and_inner_ones_are_not(disk: Disk) -> None:
    (disk.tree / ".git/x").touch()
    (disk.tree / "a/.git").mkdir(parents=True)
    assert kinds(disk).keys() == {b"", b"a", b"a/.git"}


def test_parents_come_first(disk: Disk) -> None:
    (disk.tree / "a/b/c").mkdir(parents=True)
    (disk.tree / "a/b/c/d").touch()
    paths = [written.path for written in list_written(disk.upper, "project")]
    assert paths == [b"", b"a", b"a/b", b"a/b/c", b"a/b/c/d"]


def test_a_symlinked_directory_is_not_entered(disk: Disk, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (disk.tree / "out").symlink_to(tmp_path / "outside")
    assert kinds(disk) == {b"": WrittenKind.DIRECTORY, b"out": WrittenKind.SYMLINK}


@pytest.mark.parametrize("place", ["workspace/project", "workspace"])
@pytest.mark.parametrize("kind", ["removed", "symlink", "file"])
def test_a_work_tree_that_is_gone_fails_the_task(disk: Disk, place: str, kind: str) -> None:
    path = disk.merged / place
    shutil.rmtree(path)
    if kind == "symlink":
        path.symlink_to("/")
    elif kind == "file":
        path.touch()
    with pytest.raises(TaskFailedError, match="no work tree any more"):
        list_written(disk.upper, "project")


@pytest.mark.parametrize("place", ["workspace/project", "workspace"])
def test_a_work_tree_made_anew_hides_all_there_was(disk: Disk, place: str) -> None:
    shutil.rmtree(disk.merged / place)
    disk.tree.mkdir(parents=True)
    (disk.tree / "x").touch()
    assert kinds(disk) == {b"": WrittenKind.OPAQUE, b"x": WrittenKind.FILE}


def test_a_workspace_made_anew_without_the_work_tree(disk: Disk) -> None:
    shutil.rmtree(disk.merged / "workspace")
    (disk.merged / "workspace").mkdir()
    with pytest.raises(TaskFailedError, match="no work tree any more"):
        list_written(disk.upper, "project")


def test_too_many_paths_fail_the_task(disk: Disk) -> None:
    for number in range(20):
        (disk.tree / f"f{number}").touch()
    assert len(list_written(disk.upper, "project", most=21)) == 21
    with pytest.raises(TaskFailedError, match="more than 20 paths"):
        list_written(disk.upper, "project", most=20)


@pytest.fixture
def deep_tree(disk: Disk) -> Iterator[None]:
    """Directories within directories, deeper than a path can be long."""
    here = os.open(disk.tree, os.O_PATH)
    for _ in range(3000):
        os.mkdir("deep", dir_fd=here)
        inner = os.open("deep", os.O_PATH, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    yield
    subprocess.run(["rm", "-rf", str(disk.tree / "deep")], check=True)  # pytest's own cleanup recurses


@pytest.mark.usefixtures("deep_tree")
def test_a_tree_deeper_than_paths_can_be_long(disk: Disk) -> None:
    paths = [written.path for written in list_written(disk.upper, "project")]
    assert 700 < len(paths) < 900
    assert max(map(len, paths)) <= 4000


def test_an_attribute_of_the_sandbox_hides_nothing(disk: Disk) -> None:
    """A program inside may set `user.overlay.opaque`; only the kernel sets `trusted.overlay.opaque`."""
    try:
        os.setxattr(disk.tree / "src", "user.overlay.opaque", b"y")
    except OSError:
        pytest.skip("this kernel refuses the attribute")
    assert kinds(disk)[b"src"] == WrittenKind.DIRECTORY


def test_whiteouts_as_attributes(tmp_path: Path) -> None:
    """The form of Documentation/filesystems/overlayfs.rst for layers that cannot hold devices."""
    tree = tmp_path / "workspace/project"
    tree.mkdir(parents=True)
    os.setxattr(tree, "trusted.overlay.opaque", b"x")
    (tree / "gone").touch()
    os.setxattr(tree / "gone", "trusted.overlay.whiteout", b"y")
    (tree / "empty").touch()
    assert {written.path: written.kind for written in list_written(tmp_path, "project")} == {
        b"": WrittenKind.DIRECTORY,
        b"gone": WrittenKind.REMOVED,
        b"empty": WrittenKind.FILE,
    }


def test_the_list_holds_any_name(tmp_path: Path) -> None:
    write_list(tmp_path / "list", [Written(b"a\n \xff", WrittenKind.FILE), Written(b"", WrittenKind.OPAQUE)])
    assert (tmp_path / "list").read_bytes() == b"f a\n \xff\0o \0"
