"""Submodules, and repositories inside the work tree, are pointers and nothing more."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Disk, Twin, git, head_of, tree_of


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "library"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    for number in (1, 2):
        (path / "lib.c").write_text(f"{number}\n")
        git(path, "add", "lib.c")
        git(path, "commit", "--quiet", "-m", str(number))
    return path


@pytest.fixture
def sides(source: Path, library: Path, tmp_path: Path, new_disk: Callable[[Path], Disk]) -> tuple[Disk, Twin]:
    git(source, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor/sub")
    git(source / "vendor/sub", "checkout", "--quiet", "HEAD~1")
    git(source, "add", "-A")
    git(source, "commit", "--quiet", "-m", "submodule")
    disk = new_disk(source)
    disk.checkout(head_of(source))
    disk.draw_line()
    return disk, Twin(tmp_path / "sub-twin", source)


def clone_at(library: Path, commit: str, tree: Path) -> None:
    shutil.rmtree(tree / "vendor/sub")
    git(tree, "clone", "--quiet", str(library), "vendor/sub")
    git(tree / "vendor/sub", "checkout", "--quiet", commit)


def leave_alone(library: Path, tree: Path) -> None:
    (tree / "vendor/sub/stray").write_text("no part of the outer repository\n")


def fill(library: Path, tree: Path) -> None:
    clone_at(library, "HEAD~1", tree)


def move(library: Path, tree: Path) -> None:
    clone_at(library, "main", tree)


def move_detached(library: Path, tree: Path) -> None:
    clone_at(library, "HEAD", tree)


def commit_inside(library: Path, tree: Path) -> None:
    clone_at(library, "main", tree)
    (tree / "vendor/sub/lib.c").write_text("3\n")
    git(tree / "vendor/sub", "commit", "--quiet", "-am", "3")
    git(tree / "vendor/sub", "pack-refs", "--all")


def update_by_git(library: Path, tree: Path) -> None:
    git(tree, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
    git(tree / "vendor/sub", "checkout", "--quiet", "main")


def remove(library: Path, tree: Path) -> None:
    shutil.rmtree(tree / "vendor/sub")


def make_anew(library: Path, tree: Path) -> None:
    shutil.rmtree(tree / "vendor")
    (tree / "vendor/sub").mkdir(parents=True)


def replace_by_file(library: Path, tree: Path) -> None:
    shutil.rmtree(tree / "vendor/sub")
    (tree / "vendor/sub").write_text("a file\n")


def replace_by_symlink(library: Path, tree: Path) -> None:
    shutil.rmtree(tree / "vendor/sub")
    (tree / "vendor/sub").symlink_to("../src")


@pytest.mark.parametrize(
    "edit",
    [
        *(leave_alone, fill, move, move_detached, commit_inside, update_by_git),
        *(remove, make_anew, replace_by_file, replace_by_symlink),
    ],
)
async def test_collects_the_pointer_that_git_would(
    sides: tuple[Disk, Twin], library: Path, edit: Callable[[Path, Path], None]
) -> None:
    disk, twin = sides
    for tree in (disk.tree, twin.tree):
        edit(library, tree)
    change = await disk.changes(head_of(twin.tree))
    assert tree_of(change) == twin.stage()


@pytest.mark.parametrize(
    "pointer", ["gitdir: {host}/.git\n", "gitdir: ../../../../../../../../../../{host}/.git\n", "x"]
)
async def test_a_gitfile_that_leads_out_is_not_followed(sides: tuple[Disk, Twin], library: Path, pointer: str) -> None:
    disk, twin = sides
    (disk.tree / "vendor/sub/.git").write_text(pointer.format(host=library))
    base = head_of(twin.tree)
    assert (await disk.changes(base)).commit == base
    # The same pointer without the protection is followed.
    (twin.tree / "vendor/sub/.git").write_text(f"gitdir: {library}/.git\n")
    assert twin.stage() != git(twin.tree, "rev-parse", "HEAD^{tree}").decode().strip()


async def test_a_symlinked_ref_is_not_followed(sides: tuple[Disk, Twin], library: Path) -> None:
    disk, twin = sides
    move(library, disk.tree)
    tip = disk.tree / "vendor/sub/.git/refs/heads/main"
    tip.unlink()
    tip.symlink_to(library / ".git/refs/heads/main")
    base = head_of(twin.tree)
    assert (await disk.changes(base)).commit == base


async def test_a_repository_that_setup_made_is_no_change(disk: Disk, twin: Twin, library: Path) -> None:
    git(disk.tree, "clone", "--quiet", str(library), "cloned")
    disk.draw_line()
    (disk.tree / "cloned/lib.c").write_text("edited\n")
    git(disk.tree / "cloned", "status")
    base = head_of(twin.tree)
    assert (await disk.changes(base)).commit == base


async def test_a_repository_without_a_commit_is_a_directory(disk: Disk, twin: Twin) -> None:
    git(disk.tree, "init", "--quiet", "started")
    for tree in (disk.tree, twin.tree):
        (tree / "started").mkdir(exist_ok=True)
        (tree / "started/file").write_text("kept\n")
    assert tree_of(await disk.changes(head_of(twin.tree))) == twin.stage()


async def test_checkout_leaves_submodules_empty_and_git_usable(sides: tuple[Disk, Twin], library: Path) -> None:
    disk, twin = sides
    update_by_git(library, disk.tree)
    disk.draw_line()
    disk.checkout(head_of(twin.tree))
    assert git(disk.tree, "status", "--porcelain", "--untracked-files=no") == b""
    assert not (disk.tree / ".git/modules").exists()
