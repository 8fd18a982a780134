"""Files of Git LFS: real in the work tree, unchanged to every git, and a change only where they were changed."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cloister.sandboxes.oci.worktree import large

from .conftest import GIT, Disk, git, head_of, tree_of

pytestmark = pytest.mark.anyio

CONTENT = b"\x00large\xff" * 5000
POINTER = (
    f"version https://git-lfs.github.com/spec/v1\noid sha256:{hashlib.sha256(CONTENT).hexdigest()}\n"
    f"size {len(CONTENT)}\n"
).encode()
NAMES = ("deep/ä b.bin", "a.bin")


@pytest.fixture
def disk(source: Path, new_disk: Callable[[Path], Disk]) -> Disk:
    (source / ".gitattributes").write_text("*.bin filter=lfs -text\n")
    for name in NAMES:
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(POINTER)
    (source / "a.bin").chmod(0o755)
    git(source, "add", "--all")
    git(source, "commit", "--quiet", "-m", "large")
    made = new_disk(source)
    keep(made, CONTENT, head_of(source))
    assert made.checkout(head_of(source)) is None
    made.draw_line()
    return made


def keep(disk: Disk, content: bytes, commit: str, *, digest: str = "") -> None:
    """Put an object into the mirror, as the host does that fetched it, and the list of the commit's pointers."""
    digest = digest or hashlib.sha256(content).hexdigest()
    place = disk.mirror / "lfs/objects" / digest[:2] / digest[2:4]
    place.mkdir(parents=True, exist_ok=True)
    (place / digest).write_bytes(content)
    (disk.mirror / os.fsdecode(large.LISTS)).mkdir(exist_ok=True)
    names = [os.fsencode(name) for name in NAMES]
    lines = b"".join(b"%s %d %s\0" % (digest.encode(), len(content), name) for name in names)
    (disk.mirror / os.fsdecode(large.LISTS) / commit).write_bytes(lines)


def status(disk: Disk) -> bytes:
    """Ask the work tree's own git, as an agent does, which has no filter."""
    alternates = disk.tree / ".git/objects/info/alternates"
    before = alternates.read_bytes()
    alternates.write_text(f"{disk.mirror}/objects\n")
    try:
        done = subprocess.run(
            ["git", "-c", "safe.directory=*", "status", "--porcelain"], cwd=disk.tree, env=GIT, capture_output=True
        )
    finally:
        alternates.write_bytes(before)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_files_are_real_and_unchanged_to_every_git(disk: Disk, source: Path) -> None:
    assert [(disk.tree / name).read_bytes() == CONTENT for name in NAMES] == [True, True]
    assert os.access(disk.tree / "a.bin", os.X_OK)
    assert status(disk) == b""
    before = (disk.tree / "a.bin").stat().st_ino
    assert disk.checkout(head_of(source)) is None, "again, as a warm start does"
    assert (disk.tree / "a.bin").stat().st_ino == before, "and is not laid again"
    assert (await disk.changes(head_of(source))).diff == b""
    (disk.tree / "a.bin").write_bytes(CONTENT)
    assert b"a.bin" in status(disk), "the twin: who writes to it is seen"


async def test_who_writes_the_same_changed_nothing(disk: Disk, source: Path) -> None:
    (disk.tree / "a.bin").write_bytes(CONTENT)
    (disk.tree / "README").write_text("other\n")
    change = await disk.changes(head_of(source))
    assert change.paths == ("README",)
    os.rename(disk.mirror / "lfs", disk.mirror / "gone")
    assert "a.bin" in (await disk.changes(head_of(source))).paths, "the twin: by itself it is another blob"


async def test_a_changed_mode_or_attribute_is_all_that_changed(disk: Disk, source: Path) -> None:
    (disk.tree / "a.bin").chmod(0o644)
    (disk.tree / ".gitattributes").write_text("*.bin text eol=crlf\n")
    change = await disk.changes(head_of(source))
    assert change.paths == (".gitattributes", "a.bin")
    assert b"old mode 100755\nnew mode 100644" in change.diff
    assert b"GIT binary patch" not in change.diff


async def test_a_change_is_of_the_content_and_applies_where_the_file_is_real(disk: Disk, source: Path) -> None:
    (disk.tree / "a.bin").write_bytes(b"\x00new content\n")
    os.rename(disk.tree / NAMES[0], disk.tree / "moved.txt")
    change = await disk.changes(head_of(source))
    assert set(change.paths) == {"a.bin", NAMES[0], "moved.txt"}
    disk.reset()
    assert disk.checkout(head_of(source), patch=change.diff) is None
    assert (disk.tree / "a.bin").read_bytes() == b"\x00new content\n"
    assert (disk.tree / "moved.txt").read_bytes() == CONTENT
    assert not (disk.tree / NAMES[0]).exists()
    again = await disk.changes(head_of(source))
    assert tree_of(again) == tree_of(change)


async def test_what_the_mirror_lacks_stays_its_pointer(source: Path, disk: Disk, new_disk: Callable[..., Disk]) -> None:
    bare = new_disk(source)
    assert bare.checkout(head_of(source)) is None
    assert (bare.tree / "a.bin").read_bytes() == POINTER
    keep(bare, CONTENT[:-1], head_of(source), digest=hashlib.sha256(CONTENT).hexdigest())
    assert bare.checkout(head_of(source)) is None
    assert (bare.tree / "a.bin").read_bytes() == POINTER, "nor is one laid that is of another size"


async def test_nothing_is_laid_where_no_pointer_stands(disk: Disk, source: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    canary.write_bytes(POINTER)
    (disk.tree / "a.bin").unlink()
    (disk.tree / "a.bin").symlink_to(canary)
    shutil.move(disk.tree / "deep", disk.tree / "elsewhere")
    (disk.tree / "deep").symlink_to(tmp_path)
    assert disk.checkout(head_of(source)) is None
    assert canary.read_bytes() == POINTER
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".bin")) == []
    assert [(disk.tree / name).read_bytes() == CONTENT for name in NAMES] == [True, True]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        POINTER[:-1] + b"x\n",
        POINTER.replace(b"sha256", b"sha1"),
        POINTER.replace(b"oid sha256:", b"oid sha256:../"),
        POINTER.replace(b"size ", b"size -"),
        POINTER + b"x" * 1024,
        b"\n" + POINTER,
    ],
)
def test_what_is_no_pointer_is_none(content: bytes) -> None:
    assert large.parse_pointer(content) is None
    assert large.parse_pointer(POINTER) == (hashlib.sha256(CONTENT).hexdigest().encode(), len(CONTENT))
