"""Merged layers show what the kernel shows of the many."""

import errno
import os
import random
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloister.errors import SandboxError
from cloister.sandboxes.oci import layer_merge, syscalls
from cloister.sandboxes.oci.layer_merge import DEEPEST, merge_layers
from cloister.sandboxes.oci.overlay import mount_overlay

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")
"""cap_net_raw=ep, as `setcap` writes it."""

Change = Callable[[Path], object]


class Stack:
    """Layers above an image, each written through a real mount of those below it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.image = place / "image"
        self.layers: list[Path] = []
        self.image.mkdir()

    def write(self, change: Change) -> None:
        number = len(self.layers)
        upper, work, root = (self.place / f"{name}{number}" for name in ("layer", "work", "root"))
        for path in (upper, work, root):
            path.mkdir()
        mount_overlay(root, lowers=[*reversed(self.layers), self.image], upper=upper, work=work)
        try:
            change(root)
        finally:
            syscalls.unmount_all(str(root))
        self.layers.append(upper)

    def merged(self) -> Path:
        target = self.place / "merged"
        merge_layers([*reversed(self.layers)], [self.image], target)
        return target

    def shown(self, layers: list[Path]) -> dict[str, Any]:
        root = self.place / "shown"
        root.mkdir(exist_ok=True)
        mount_overlay(root, lowers=[*layers, self.image])
        try:
            return look(root)
        finally:
            syscalls.unmount_all(str(root))

    def check(self) -> None:
        many = self.shown([*reversed(self.layers)])
        assert self.shown([self.merged()]) == many


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    yield Stack(tmp_path)


def look(root: Path) -> dict[str, Any]:
    """Everything that a program sees of a tree; files with the same names have the same number."""
    seen: dict[str, Any] = {}
    numbers: dict[int, int] = {}
    for folder, folders, files in os.walk(root):
        folders.sort()  # and so walks in this order
        for name in (".", *folders, *sorted(files)):
            path = Path(folder) / name
            found = path.lstat()
            content: bytes | str = b""
            if stat.S_ISREG(found.st_mode):
                content = path.read_bytes()
            elif stat.S_ISLNK(found.st_mode):
                content = str(path.readlink())
            marks = {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            }
            is_folder = stat.S_ISDIR(found.st_mode)
            seen[str(path.relative_to(root))] = (
                found.st_mode,
                found.st_uid,
                found.st_gid,
                found.st_mtime_ns,
                found.st_rdev,
                None if is_folder else numbers.setdefault(found.st_ino, len(numbers)),
                content,
                marks,
            )
    return seen


def test_every_kind_of_change_survives(stack: Stack) -> None:
    for name in ("gone", "replaced", "kept"):
        (stack.image / name).mkdir()
        (stack.image / name / "file").write_text("image")
    (stack.image / "link").symlink_to("kept/file")

    def first(root: Path) -> None:
        (root / "own").mkdir(mode=0o2750)
        for name in ("a", "b", "c"):
            (root / "own" / name).write_text(name)
        (root / "own" / "same").hardlink_to(root / "own" / "a")
        os.chown(root / "own" / "b", 1000, 1001)
        os.setxattr(root / "own" / "b", "user.note", b"x")
        os.setxattr(root / "own" / "c", "security.capability", CAPABILITY)
        (root / "own" / "c").chmod(0o4755)
        os.setxattr(root / "own", "user.folder", b"y")
        os.mkfifo(root / "own" / "fifo")
        (root / "own" / "to").symlink_to("/etc/passwd")
        os.utime(root / "own" / "a", ns=(1, 2))
        (root / "gone" / "file").unlink()
        (root / "gone").rmdir()

    def second(root: Path) -> None:
        (root / "own" / "b").unlink()
        (root / "replaced" / "file").unlink()
        (root / "replaced").rmdir()
        (root / "replaced").mkdir()
        (root / "replaced" / "new").write_text("new")
        (root / "link").unlink()
        (root / "link").mkdir()
        (root / "kept" / "file").chmod(0o600)

    def third(root: Path) -> None:
        (root / "gone").write_text("now a file")
        (root / "own" / "d").write_text("d")
        (root / "own" / "same").write_text("apart")
        os.utime(root / "own", ns=(3, 4))
        (root / "replaced" / "new").unlink()

    for change in (first, second, third):
        stack.write(change)
    stack.check()
    assert "own/b" not in stack.shown([stack.place / "merged"])
    assert not os.path.lexists(stack.place / "merged" / "own" / "b")


def test_a_whiteout_that_hides_nothing_is_not_listed(stack: Stack) -> None:
    """In a directory that only one layer has, overlayfs lists its whiteouts as they are."""
    stack.write(lambda root: [(root / "d").mkdir(), (root / "d" / "file").touch()])
    stack.write(lambda root: (root / "d" / "file").unlink())
    stack.check()
    assert list((stack.place / "merged" / "d").iterdir()) == []


def test_a_folder_made_anew_above_a_removed_one_shows_nothing_of_it(stack: Stack) -> None:
    (stack.image / "d").mkdir()
    (stack.image / "d" / "old").touch()
    stack.write(lambda root: [(root / "d" / "old").unlink(), (root / "d").rmdir()])
    stack.write(lambda root: [(root / "d").mkdir(), (root / "d" / "new").touch()])
    stack.check()
    assert [path.name for path in (stack.place / "merged" / "d").iterdir()] == ["new"]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_done_layer_by_layer_shows_the_same(stack: Stack, seed: int) -> None:
    chance = random.Random(seed)
    for folder in ("x", "x/y", "z"):
        (stack.image / folder).mkdir()
        (stack.image / folder / "f").write_text(folder)

    def anything(root: Path) -> None:
        for _ in range(25):
            step(root, chance)

    for _ in range(5):
        stack.write(anything)
    stack.check()


def step(root: Path, chance: random.Random) -> None:
    """Do one thing at a random place; what cannot be done there is not."""
    folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    path = chance.choice(folders) / chance.choice("fgxyz")
    other = chance.choice(folders) / chance.choice("fgxyz")
    try:
        match chance.randrange(9):
            case 0 | 1:
                path.write_text(str(chance.random()))
            case 2 | 3:
                path.mkdir()
            case 4:
                path.unlink()
            case 5:
                remove(path)
            case 6:
                path.symlink_to("f")
            case 7:
                path.hardlink_to(other)
            case 8:
                path.chmod(chance.choice([0o600, 0o755, 0o711]))
    except OSError as error:
        assert error.errno != errno.EIO


def remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    for entry in path.iterdir():
        remove(entry)
    path.rmdir()


def test_a_file_with_too_many_names_is_copied_with_all_that_it_has(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(root: Path) -> None:
        (root / "file").write_text("many")
        os.chown(root / "file", 5, 6)
        os.setxattr(root / "file", "security.capability", CAPABILITY)
        (root / "file").chmod(0o751)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMLINK, "too many")

    (stack.image / "hidden").touch()
    stack.write(change)
    stack.write(lambda root: (root / "hidden").unlink())
    monkeypatch.setattr(layer_merge.os, "link", refuse)
    stack.check()
    assert (stack.place / "merged" / "file").stat().st_ino != (stack.layers[0] / "file").stat().st_ino


@pytest.mark.parametrize("kind", ["redirect", "deep"])
def test_a_tree_that_cannot_be_merged_is_refused(stack: Stack, kind: str) -> None:
    def deep(root: Path) -> None:
        (root / "/".join(["d"] * (DEEPEST + 2))).mkdir(parents=True) if kind == "deep" else (root / "d").mkdir()

    stack.write(deep)
    if kind == "redirect":
        os.setxattr(stack.layers[0] / "d", "trusted.overlay.redirect", b"/etc")
    with pytest.raises(SandboxError):
        stack.merged()


def test_nothing_is_followed(stack: Stack, tmp_path: Path) -> None:
    """A folder in one layer, a symlink to the host's in another."""
    host = tmp_path / "host"
    host.mkdir()
    (host / "canary").write_text("canary")
    stack.write(lambda root: [(root / "d").mkdir(), (root / "d" / "own").touch()])
    stack.write(lambda root: [remove(root / "d"), (root / "d").symlink_to(host)])
    stack.write(lambda root: [(root / "d").unlink(), (root / "d").mkdir()])
    stack.check()
    assert list((stack.place / "merged" / "d").iterdir()) == []
    assert [path.name for path in host.iterdir()] == ["canary"]
