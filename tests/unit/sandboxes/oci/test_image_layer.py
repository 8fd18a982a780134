"""Hostile layers are refused with the layer's and the entry's name; each has a twin of the same shape that passes."""

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard

from cloister.sandboxes.oci.image_layer import Allowance, LayerReader, RefusedLayerError
from cloister.sandboxes.oci.image_unpack import unpack_layer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners")

NAME = "sha256:0123"


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, 0o755
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def archive_of(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            if member.isreg():
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


class Tree:
    """A root in a folder with something beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "kept").write_text("kept")

    def lay(
        self,
        archive: bytes,
        *,
        diff_id: str = "",
        allowance: Allowance | None = None,
        compress: Callable[[bytes], bytes] = gzip.compress,
    ) -> None:
        packed = self.folder / "layer.tar.gz"
        packed.write_bytes(compress(archive))
        expected = diff_id or f"sha256:{hashlib.sha256(archive).hexdigest()}"
        reader = LayerReader(packed, name=NAME, diff_id=expected, allowance=allowance or Allowance())
        unpack_layer(self.root, reader, NAME)

    def paths(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


LINK, HARD, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
TWINS: dict[str, tuple[Sequence[tarfile.TarInfo], Sequence[tarfile.TarInfo], str]] = {
    "absolute path": ([entry("/etc/passwd")], [entry("etc/passwd")], "absolute path"),
    "path upwards": ([entry("a/../../outside/x")], [entry("a/.../x")], r"leads out of its folder"),
    "link out": ([entry("a/b", LINK, "../../outside")], [entry("a/b", LINK, "../outside")], "link out of the root"),
    "absolute link out": ([entry("b", LINK, "/../x")], [entry("b", LINK, "/etc/x")], "link out of the root"),
    "hard link out": (
        [entry("x"), entry("b", HARD, "../outside/kept")],
        [entry("x"), entry("b", HARD, "x")],
        "leads out of its folder",
    ),
    "absolute hard link": ([entry("x"), entry("b", HARD, "/x")], [entry("x"), entry("b", HARD, "x")], "absolute"),
    "hard link through a link": (
        [entry("d", LINK, "/outside"), entry("b", HARD, "d/kept")],
        [entry("d", FOLDER), entry("d/kept"), entry("b", HARD, "d/kept")],
        "is not there",
    ),
    "parent is a link": (
        [entry("d", LINK, "/outside"), entry("d/kept")],
        [entry("d", FOLDER), entry("d/kept")],
        "no link to one in here",
    ),
    "directory made of a link": (
        [entry("d", LINK, "/outside"), entry("d/e", FOLDER)],
        [entry("d", LINK, "/outside"), entry("d", FOLDER), entry("d/e", FOLDER)],
        "no link to one in here",
    ),
    "whiteout of the parent": ([entry("d/.wh...")], [entry("d/.wh.x")], "whiteout of no name"),
    "device": ([entry("sda", tarfile.BLKTYPE)], [entry("sda")], "a device"),
    "character device": ([entry("null", tarfile.CHRTYPE)], [entry("null")], "a device"),
    "pipe": ([entry("pipe", tarfile.FIFOTYPE)], [entry("pipe")], "a pipe"),
    "unknown kind": ([entry("x", b"Z")], [entry("x", tarfile.CONTTYPE)], "unknown kind"),
    "owner beyond": ([entry("x", uid=65_536)], [entry("x", uid=65_535)], "beyond the 65536 ids"),
    "group beyond": ([entry("x", gid=65_536)], [entry("x", gid=65_535)], "beyond the 65536 ids"),
    "long name": ([entry("n" * 256)], [entry("n" * 255)], "too long"),
    "deep path": ([entry("d/" * 256 + "x")], [entry("d/" * 255 + "x")], "too deep"),
    "opaque by attribute": (
        [entry("d", FOLDER, pax_headers={"SCHILY.xattr.trusted.overlay.opaque": "y"})],
        [entry("d", FOLDER, pax_headers={"SCHILY.xattr.user.comment": "y"})],
        "overlayfs's own",
    ),
    "redirected by attribute": (
        [entry("d", FOLDER, pax_headers={"LIBARCHIVE.xattr.user%2Eoverlay.redirect": "/x"})],
        [entry("d", FOLDER, pax_headers={"LIBARCHIVE.xattr.user.comment": "/x"})],
        "overlayfs's own",
    ),
}


@pytest.mark.parametrize("case", TWINS)
def test_a_hostile_entry_is_refused_by_name_and_nothing_outside_is_touched(tree: Tree, case: str) -> None:
    hostile, _, reason = TWINS[case]
    with pytest.raises(RefusedLayerError, match=reason) as caught:
        tree.lay(archive_of(*hostile))
    assert f"layer {NAME}, entry " in str(caught.value)
    assert [path.name for path in tree.outside.iterdir()] == ["kept"]
    assert (tree.outside / "kept").read_text() == "kept"


@pytest.mark.parametrize("case", TWINS)
def test_its_benign_twin_passes(tree: Tree, case: str) -> None:
    tree.lay(archive_of(*TWINS[case][1]))


def test_a_folder_on_the_way_may_be_a_link_and_whiteouts_know_where_it_leads(tree: Tree) -> None:
    tree.lay(archive_of(entry("usr/lib/old"), entry("lib", LINK, "usr/lib"), entry("abs", LINK, "/usr")))
    tree.lay(archive_of(entry("lib/x"), entry("usr/lib/.wh.x"), entry("lib/.wh.old"), entry("y", HARD, "abs/lib/x")))
    assert tree.paths() == ["abs", "lib", "usr", "usr/lib", "usr/lib/x", "y"]
    assert (tree.root / "y").samefile(tree.root / "usr/lib/x")


CLIMBING = [entry("l", LINK, "/m"), entry("m", LINK, "/outside"), entry("outside/x"), entry("l/kept")]


def test_a_link_never_leads_out_of_the_root_however_it_is_chained(tree: Tree) -> None:
    tree.lay(archive_of(*CLIMBING))
    assert tree.paths() == ["l", "m", "outside", "outside/kept", "outside/x"]
    assert (tree.outside / "kept").read_text() == "kept"
    assert (tree.root / "m").readlink() == Path("/outside")
    (tree.root / "planted").symlink_to(tree.outside)  # the twin: this is where a program that follows would write
    (tree.root / "planted/kept").write_text("gone")
    assert (tree.outside / "kept").read_text() == "gone"


@pytest.mark.parametrize("target", ["../outside", "/../../outside", "a/../../outside", "/proc/self/root"])
def test_a_link_that_came_from_elsewhere_is_looked_up_inside_too(tree: Tree, target: str) -> None:
    (tree.root / "l").symlink_to(target)
    (tree.root / "a").mkdir()
    with pytest.raises(RefusedLayerError, match="no link to one in here"):
        tree.lay(archive_of(entry("l/kept")))
    tree.lay(archive_of(entry("l/.wh.kept")))
    assert (tree.outside / "kept").read_text() == "kept"


def test_links_in_a_circle_are_refused(tree: Tree) -> None:
    with pytest.raises(RefusedLayerError, match="no link to one in here"):
        tree.lay(archive_of(entry("a", LINK, "b"), entry("b", LINK, "a"), entry("a/x")))


def test_links_do_not_lead_deeper_than_paths_may(tree: Tree) -> None:
    folder = "d/" * 200
    tree.lay(archive_of(entry(folder, FOLDER), entry("l", LINK, folder)))
    with pytest.raises(RefusedLayerError, match="lies too deep"):
        tree.lay(archive_of(entry("l/" + "e/" * 100 + "x")))
    tree.lay(archive_of(entry("l/" + "e/" * 50 + "x")))


def _chunked(archive: bytes) -> bytes:
    """As `zstd:chunked` does: several frames, and one that is to be skipped."""
    skipped = b"\x50\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"skipped"
    return zstandard.compress(archive[:700]) + skipped + zstandard.compress(archive[700:])


@pytest.mark.parametrize("compress", [zstandard.compress, _chunked, bytes])
def test_a_layer_may_be_compressed_otherwise(tree: Tree, compress: Callable[[bytes], bytes]) -> None:
    tree.lay(archive_of(entry("x"), entry("y"), content=b"c" * 300_000), compress=compress)
    assert (tree.root / "y").read_bytes() == b"c" * 300_000


@pytest.mark.parametrize("compress", [lambda packed: zstandard.compress(packed)[:-9], lambda _: b"\x28\xb5\x2f\xfd??"])
def test_damaged_zstd_is_refused(tree: Tree, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RefusedLayerError, match=r"damaged|not what the image"):
        tree.lay(archive_of(entry("x"), content=os.urandom(100_000)), compress=compress)


def test_zstd_that_wants_a_lot_of_memory_is_refused(tree: Tree) -> None:
    def compress(packed: bytes, window: int = 28) -> bytes:
        parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=window, write_content_size=0)
        packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        return packer.compress(packed) + packer.flush()

    archive = archive_of(entry("x"), content=b"c" * 5000)
    with pytest.raises(RefusedLayerError, match="too much memory"):
        tree.lay(archive, compress=compress)
    tree.lay(archive, compress=lambda packed: compress(packed, 27))


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_bomb_is_refused_however_it_is_compressed(tree: Tree, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RefusedLayerError, match="too large when it is unpacked"):
        tree.lay(archive_of(entry("x"), content=bytes(1 << 22)), allowance=Allowance(bytes=1 << 20), compress=compress)


LIMITS: dict[str, tuple[Callable[[], Allowance], str]] = {
    "bytes": (lambda: Allowance(bytes=20_000), "too large when it is unpacked"),
    "entries": (lambda: Allowance(entries=1), "too many entries"),
}


@pytest.mark.parametrize("case", LIMITS)
def test_what_unpacks_to_too_much_is_refused_and_passes_without_the_limit(tree: Tree, case: str) -> None:
    bomb = archive_of(entry("zeros"), entry("more"), content=bytes(20_000))
    limit, reason = LIMITS[case]
    with pytest.raises(RefusedLayerError, match=reason):
        tree.lay(bomb, allowance=limit())
    tree.lay(bomb)


def _sparse(size: int) -> bytes:
    """A file of `size` bytes of which the archive holds one (GNU tar's sparse format 0.1)."""
    fields = {"GNU.sparse.size": str(size), "GNU.sparse.map": "0,1", "GNU.sparse.name": "holes"}
    return archive_of(entry("GNUSparseFile/holes", pax_headers=fields), content=b"x")


def test_a_sparse_file_counts_with_its_holes(tree: Tree) -> None:
    with pytest.raises(RefusedLayerError, match="too large when it is unpacked"):
        tree.lay(_sparse(1 << 40))
    assert tree.paths() == []
    tree.lay(_sparse(100_000))
    assert (tree.root / "holes").stat().st_size == 100_000


def test_headers_that_would_fill_the_memory_are_refused(tree: Tree) -> None:
    def with_comment(size: int) -> bytes:
        return archive_of(entry("x", pax_headers={"comment": "c" * size}))

    with pytest.raises(RefusedLayerError, match="headers of an entry are too large"):
        tree.lay(with_comment(2 << 20))
    tree.lay(with_comment(1 << 16))


def test_an_archive_that_is_not_the_configurations_is_refused(tree: Tree) -> None:
    with pytest.raises(RefusedLayerError, match="not what the image's configuration says"):
        tree.lay(archive_of(entry("x")), diff_id="sha256:" + "0" * 64)


def test_a_damaged_header_is_not_taken_for_the_end(tree: Tree) -> None:
    whole = archive_of(entry("x"), entry("y"))
    with pytest.raises(RefusedLayerError, match="damaged"):
        tree.lay(whole[:512] + b"damaged" + whole[519:])
    tree.lay(whole)
    assert tree.paths() == ["x", "y"]


def test_an_archive_that_ends_early_is_refused(tree: Tree) -> None:
    whole = archive_of(entry("x"), content=b"c" * 5000)
    with pytest.raises(RefusedLayerError, match="damaged"):
        tree.lay(whole[:2000])


def test_whiteouts_hide_what_lies_below_and_nothing_of_their_own_layer(tree: Tree) -> None:
    tree.lay(archive_of(entry("a/old"), entry("b/old"), entry("b/in/old"), entry("c")))
    tree.lay(archive_of(entry("a/.wh.old"), entry("b/in/new"), entry("b/.wh..wh..opq"), entry(".wh.c")))
    assert tree.paths() == ["a", "b", "b/in", "b/in/new"]


def test_a_later_layer_writes_no_hard_link_of_an_earlier_one(tree: Tree) -> None:
    tree.lay(archive_of(entry("x"), entry("y", HARD, "x"), content=b"old"))
    tree.lay(archive_of(entry("x"), content=b"new"))
    assert ((tree.root / "x").read_bytes(), (tree.root / "y").read_bytes()) == (b"new", b"old")


def test_owners_modes_and_times_are_the_archives(tree: Tree) -> None:
    tree.lay(archive_of(entry("su", uid=3, gid=4, mode=0o4750, mtime=1000)))
    status = (tree.root / "su").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777, status.st_mtime) == (3, 4, 0o4750, 1000)
