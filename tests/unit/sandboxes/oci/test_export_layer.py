"""A layer packed and laid again is the same tree; what no image can hold is refused, and no link is followed."""

import hashlib
import io
import os
import socket
import stat
import tarfile
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from cloister.errors import SandboxError
from cloister.model.snapshot_export import Compression
from cloister.sandboxes.oci.bundle import UID_BASE
from cloister.sandboxes.oci.export_layer import pack_layer
from cloister.sandboxes.oci.export_layout import ImageLayout, image_configuration
from cloister.sandboxes.oci.image_layer import Allowance, LayerReader
from cloister.sandboxes.oci.image_unpack import unpack_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners")


def nothing() -> None:
    """Nobody wants it to end."""


def packed(root: Path, without: Collection[str] = (), allowance: Allowance | None = None) -> bytes:
    for path in (root, *root.rglob("*")):
        if path.lstat().st_uid == 0:
            os.lchown(path, UID_BASE, UID_BASE)
    archive = io.BytesIO()
    pack_layer(root, archive, without=without, allowance=allowance or Allowance(), check=nothing)
    return archive.getvalue()


def names(archive: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as read:
        return read.getnames()


def lay(root: Path, archive: bytes, file: Path) -> None:
    file.write_bytes(archive)
    diff_id = f"sha256:{hashlib.sha256(archive).hexdigest()}"
    unpack_layer(root, LayerReader(file, name="l", diff_id=diff_id, allowance=Allowance()), "l")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    return root


def test_what_overlayfs_hides_stays_hidden(tree: Path, tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    for name in ("a/old", "b/old", "c", "d", "e"):
        (lower / name).parent.mkdir(parents=True, exist_ok=True)
        (lower / name).write_text("old")
    (tree / "a").mkdir()
    os.setxattr(tree / "a", "trusted.overlay.opaque", b"y")
    (tree / "a/new").write_text("new")
    (tree / "b").mkdir()
    os.mknod(tree / "c", stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(tree / "d", stat.S_IFBLK, os.makedev(7, 0))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tree / "e"))
    lay(lower, packed(tree), tmp_path / "archive")
    assert sorted(str(path.relative_to(lower)) for path in lower.rglob("*")) == ["a", "a/new", "b", "b/old"]


def test_owners_modes_times_and_hard_links_come_back(tree: Path, tmp_path: Path) -> None:
    (tree / "su").write_text("x")
    os.chown(tree / "su", UID_BASE + 3, UID_BASE + 4)
    (tree / "su").chmod(0o4750)
    os.utime(tree / "su", (1000, 1000))
    os.link(tree / "su", tree / "also")
    (tree / os.fsdecode(b"b\xc3\xa4d\xff")).symlink_to(os.fsdecode(b"/x\xff"))
    root = tmp_path / "root"
    root.mkdir()
    lay(root, packed(tree), tmp_path / "archive")
    status = (root / "su").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777, status.st_mtime) == (3, 4, 0o4750, 1000)
    assert (root / "also").samefile(root / "su")
    assert (root / os.fsdecode(b"b\xc3\xa4d\xff")).readlink() == Path(os.fsdecode(b"/x\xff"))


def test_the_same_tree_makes_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for root, order in ((tree, "abc"), (other, "cba")):
        for name in order:
            (root / name).write_text(name)
            os.utime(root / name, (1000, 1000))
    assert packed(tree) == packed(other)


def test_no_link_is_followed_and_what_is_left_out_is_not_there(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("canary")
    (tree / "folder").symlink_to(outside)
    (tree / "file").symlink_to(outside / "canary")
    (tree / "w/.git").mkdir(parents=True)
    (tree / "w/.git/config").write_text("path of this machine")
    archive = packed(tree, without={"w/.git"})
    assert names(archive) == ["file", "folder", "w"]
    assert b"path of this machine" not in archive
    assert b"w/.git/config" in packed(tree), "the twin"


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a whiteout's name": (lambda root: (root / ".wh.x").write_text(""), "hides another file"),
    "opaque's name": (lambda root: (root / ".wh..wh..opq").write_text(""), "hides another file"),
    "nobody's": (lambda root: os.chown(_file(root), UID_BASE + 65_536, UID_BASE), "belongs to nobody"),
    "the host's": (lambda root: os.chown(_file(root), 1, 1), "belongs to nobody"),
    "a redirect": (
        lambda root: os.setxattr(_file(root, folder=True), "trusted.overlay.redirect", b"/etc"),
        "attributes of overlayfs",
    ),
    "a metacopy": (lambda root: os.setxattr(_file(root), "trusted.overlay.metacopy", b""), "attributes of overlayfs"),
    "nested whiteouts": (
        lambda root: os.setxattr(_file(root, folder=True), "trusted.overlay.opaque", b"x"),
        "attributes of overlayfs",
    ),
    "too deep": (lambda root: (root / ("d/" * 257)).mkdir(parents=True), "too deep"),
}


def _file(root: Path, *, folder: bool = False) -> Path:
    path = root / "it"
    path.mkdir() if folder else path.write_text("")
    return path


@pytest.mark.parametrize("case", HOSTILE)
def test_what_no_image_can_hold_is_refused(tree: Path, case: str) -> None:
    make, reason = HOSTILE[case]
    make(tree)
    with pytest.raises(SandboxError, match=reason):
        packed(tree)


def test_what_could_not_be_pulled_is_not_packed(tree: Path) -> None:
    (tree / "holes").touch()
    os.truncate(tree / "holes", 1 << 40)
    with pytest.raises(SandboxError, match="too large"):
        packed(tree)
    os.truncate(tree / "holes", 1 << 10)
    packed(tree)
    with pytest.raises(SandboxError, match="too large"):
        packed(tree, allowance=Allowance(entries=0))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_layout_is_reproducible_and_an_empty_layer_is_none(
    tree: Path, tmp_path: Path, compression: Compression
) -> None:
    (tree / "x").write_bytes(b"content" * 1000)
    os.chown(tree / "x", UID_BASE, UID_BASE)
    digests = []
    for name in ("one", "two"):
        layout = ImageLayout(tmp_path / name, compression)
        for without in ((), ("x",)):
            layout.add_layer(
                lambda archive, without=without: pack_layer(
                    tree, archive, without=without, allowance=Allowance(), check=nothing
                ),
                made_by="test",
            )
        assert len(layout.layers) == 1
        digests.append(
            layout.finish(
                image_configuration(
                    architecture="amd64", created="2026-01-01T00:00:00+00:00", variables={}, cwd="/", labels={}
                )
            )
        )
    assert digests[0] == digests[1]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["blobs", "index.json", "oci-layout"]
    assert len(list((tmp_path / "one/blobs/sha256").iterdir())) == 3
