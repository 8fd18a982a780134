"""Submodules that the mirror has are folders of files: put to their commit, and never a part of a change."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cloister.sandboxes.oci.worktree.submodules import LISTS

from .conftest import Disk, git, head_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def disk(source: Path, tmp_path: Path, new_disk: Callable[[Path], Disk]) -> Disk:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "--quiet", "--initial-branch=main")
    (library / "src").mkdir()
    (library / "src/lib.c").write_text("1\n")
    git(library, "add", "-A")
    git(library, "commit", "--quiet", "-m", "lib")
    git(source, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(library), "vendor/sub")
    git(source, "commit", "--quiet", "-m", "submodule")
    made = new_disk(source)
    git(made.mirror, "fetch", "--quiet", str(library), "main:refs/other")
    tree = git(made.mirror, "rev-parse", "refs/other^{tree}").strip()
    (made.mirror / os.fsdecode(LISTS)).mkdir()
    (made.mirror / os.fsdecode(LISTS) / head_of(source)).write_bytes(tree + b" vendor/sub\0")
    assert made.checkout(head_of(source)) is None
    made.draw_line()
    return made


async def test_its_files_are_there_and_no_repository_is(disk: Disk, source: Path) -> None:
    assert (disk.tree / "vendor/sub/src/lib.c").read_text() == "1\n"
    assert sorted(path.name for path in (disk.tree / "vendor/sub").iterdir()) == ["src"]
    assert (await disk.changes(head_of(source))).diff == b""
    assert disk.collect(head_of(source))["inside"] == []


async def test_what_is_written_in_it_is_said_and_not_collected(disk: Disk, source: Path) -> None:
    (disk.tree / "vendor/sub/src/lib.c").write_text("2\n")
    (disk.tree / "README").write_text("other\n")
    assert disk.collect(head_of(source))["inside"] == ["vendor/sub"]
    assert (await disk.changes(head_of(source))).paths == ("README",)


async def test_a_checkout_puts_it_back_past_every_trap(disk: Disk, source: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.mkdir()
    (disk.tree / "vendor/sub/src/lib.c").unlink()
    (disk.tree / "vendor/sub/src").rmdir()
    (disk.tree / "vendor/sub/src").symlink_to(canary)
    (disk.tree / "vendor/sub/.git").mkdir()
    (disk.tree / "vendor/sub/.git/config").write_text("[core]\n\tfsmonitor = touch /tmp/never\n")
    (disk.tree / "vendor/sub/.gitattributes").write_text("* filter=evil\n")
    assert disk.checkout(head_of(source)) is None
    assert (disk.tree / "vendor/sub/src/lib.c").read_text() == "1\n"
    assert list(canary.iterdir()) == []


async def test_it_goes_where_a_commit_has_none(disk: Disk, source: Path) -> None:
    before = head_of(source)
    assert disk.checkout(git(source, "rev-parse", "feature").decode().strip()) is None  # type: ignore[arg-type]
    assert not (disk.tree / "vendor/sub/src").exists()
    assert disk.checkout(before) is None
    assert (disk.tree / "vendor/sub/src/lib.c").read_text() == "1\n"


async def test_where_a_symlink_stands_nothing_is_removed_or_laid(disk: Disk, source: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub/keep").write_text("kept\n")
    (disk.tree / "vendor/sub/src/lib.c").unlink()
    (disk.tree / "vendor/sub/src").rmdir()
    (disk.tree / "vendor/sub").rmdir()
    (disk.tree / "vendor").rmdir()
    (disk.tree / "vendor").symlink_to(outside)
    assert disk.checkout(git(source, "rev-parse", "feature").decode().strip()) is None  # type: ignore[arg-type]
    assert (outside / "sub/keep").read_text() == "kept\n"
    (disk.tree / "vendor").is_symlink()
    assert disk.checkout(head_of(source)) is None
    assert sorted(path.name for path in (outside / "sub").iterdir()) == ["keep"]
    assert (disk.tree / "vendor/sub/src/lib.c").read_text() == "1\n"
