"""Conversions that attributes ask for are made; those that would run a program are not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Disk, Twin, git, head_of, tree_of


@pytest.fixture
def sides(source: Path, tmp_path: Path, new_disk: Callable[[Path], Disk]) -> tuple[Disk, Twin]:
    (source / "windows.txt").write_bytes(b"a\r\nb\r\n")
    (source / "src/windows.c").write_bytes(b"a\r\nb\r\n")
    (source / "mixed.dat").write_bytes(b"a\r\nb\n")
    (source / ".gitattributes").write_text(
        "*.dat -text\n*.ps1 text eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16\n"
    )
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "-m", "attributes")
    disk = new_disk(source)
    disk.checkout(head_of(source))
    disk.draw_line()
    return disk, Twin(tmp_path / "attributes-twin", source)


async def test_converts_what_was_written(sides: tuple[Disk, Twin]) -> None:
    disk, twin = sides
    for tree in (disk.tree, twin.tree):
        (tree / "new.ps1").write_bytes(b"a\r\nb\r\n")
        (tree / "new.id").write_bytes(b"$Id: 0123 $\n")
        (tree / "new.u16").write_bytes("ü\n".encode("utf-16"))
        (tree / "mixed.dat").write_bytes(b"a\r\nb\nc\r\n")
    assert tree_of(await disk.changes(head_of(twin.tree))) == twin.stage()


@pytest.mark.parametrize(
    "rules",
    [b"* text=auto\n", b"*.txt text\nsrc/* -text\n", b"*.dat text\n", b"", b"[attr]lines text\n*.c lines\n"],
)
async def test_looks_again_at_files_whose_attributes_changed(sides: tuple[Disk, Twin], rules: bytes) -> None:
    disk, twin = sides
    for tree in (disk.tree, twin.tree):
        (tree / ".gitattributes").write_bytes(rules)
        (tree / "README").write_text("too\n")
    change = await disk.changes(head_of(twin.tree))
    twin.stage()
    git(twin.tree, "add", "--renormalize", ".")
    wanted = git(twin.tree, "write-tree").decode().strip()
    assert tree_of(change) == wanted
    assert twin.tree_after(change.diff) == wanted


async def test_leaves_files_alone_whose_attributes_stay(
    source: Path, tmp_path: Path, new_disk: Callable[[Path], Disk]
) -> None:
    """A repository may hold files that its own attributes would store otherwise; that is not the agent's doing."""
    (source / "windows.txt").write_bytes(b"a\r\nb\r\n")
    git(source, "add", "--all")
    (source / ".gitattributes").write_text("*.txt text\n")
    git(source, "add", ".gitattributes")
    git(source, "commit", "--quiet", "-m", "not normalised")
    disk = new_disk(source)
    disk.checkout(head_of(source))
    disk.draw_line()
    with (disk.tree / ".gitattributes").open("a") as file:
        file.write("*.png binary\n")
    change = await disk.changes(head_of(source))
    assert git(change.repository, "diff", "--name-only", change.base, change.commit) == b".gitattributes\n"


async def test_a_file_that_cannot_be_converted_is_named(sides: tuple[Disk, Twin]) -> None:
    disk, twin = sides
    (disk.tree / "broken.u16").write_bytes(b"\xff\xfe\x00")
    refused = disk.collect(head_of(twin.tree))["refused"]
    assert "broken.u16" in refused


async def test_a_pointer_of_large_file_storage_stays_a_pointer(sides: tuple[Disk, Twin]) -> None:
    disk, twin = sides
    (disk.tree / ".gitattributes").write_text("*.big filter=lfs diff=lfs merge=lfs -text\n")
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (disk.tree / "x.big").write_bytes(pointer)
    change = await disk.changes(head_of(twin.tree))
    assert git(change.repository, "cat-file", "blob", f"{change.commit}:x.big") == pointer
