"""The digest of a kept disk: whatever is changed there is found, and what is the same has the same."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cloister.errors import SandboxError
from cloister.model.sandbox import Commit
from cloister.sandboxes.oci import snapshot_digest as module
from cloister.sandboxes.oci.snapshot_digest import DIGEST, DiskDigest, compute_digest, read_digest
from cloister.sandboxes.oci.snapshot_marker import SnapshotMarker, read_marker, write_marker

MARKER = SnapshotMarker(image="i" * 64, commit=Commit("a" * 40), layers=2, boot_id="b", id="1")
FILE, LINK, REMOVAL = "layers/1/usr/file", "layers/1/usr/link", "layers/1/removed"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "kept"
    for folder in ("git/objects", "layers/0/usr/lib", "layers/1/usr"):
        (place / folder).mkdir(parents=True)
    (place / "git/HEAD").write_text("ref: refs/heads/none\n")
    (place / FILE).write_bytes(b"x" * 700_000)
    (place / "layers/1/usr/twin").hardlink_to(place / FILE)
    (place / LINK).symlink_to("file")
    (place / "layers/0/usr/lib/secret").write_text("kept to oneself")
    (place / "layers/0/usr/lib/secret").chmod(0)
    os.mknod(place / REMOVAL, 0o20000, os.makedev(0, 0))
    os.setxattr(place / "layers/1/usr", "trusted.overlay.opaque", b"y")
    os.setxattr(place / FILE, "user.note", b"n")
    write_marker(place, MARKER)
    return place


def change_one_byte(place: Path) -> None:
    with (place / FILE).open("r+b") as file:
        file.seek(600_000)
        file.write(b"y")


def swap_names(place: Path) -> None:
    (place / "layers/0/usr/lib").rename(place / "layers/0/usr/lib64")


def point_elsewhere(place: Path) -> None:
    (place / LINK).unlink()
    (place / LINK).symlink_to("/file")


def add_zeros(place: Path) -> None:
    os.truncate(place / FILE, 700_001)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a byte": change_one_byte,
    "zeros at the end": add_zeros,
    "a mode": lambda place: (place / FILE).chmod(0o4755),
    "the root's mode": lambda place: (place / "layers/1").chmod(0o777),
    "an owner": lambda place: os.chown(place / LINK, 7, -1, follow_symlinks=False),
    "a group": lambda place: os.chown(place / FILE, -1, 7),
    "an attribute": lambda place: os.setxattr(place / FILE, "user.note", b"m"),
    "a capability": lambda place: os.setxattr(
        place / FILE, "security.capability", bytes.fromhex("0100000200200000000000000000000000000000")
    ),
    "what was removed is seen again": lambda place: os.removexattr(place / "layers/1/usr", "trusted.overlay.opaque"),
    "a removal undone": lambda place: (place / REMOVAL).unlink(),
    "a removal that is a device": lambda place: (
        (place / REMOVAL).unlink(),
        os.mknod(place / REMOVAL, 0o20000, os.makedev(1, 3)),
    ),
    "a name": swap_names,
    "a link's target": point_elsewhere,
    "a new file": lambda place: (place / "layers/0/usr/lib/new").touch(),
    "a new folder": lambda place: (place / "layers/0/usr/new").mkdir(),
    "a file in another layer": lambda place: shutil.move(place / FILE, place / "layers/0/usr/file"),
    "git's folder": lambda place: (place / "git/config").write_text("[core]"),
    "the commit": lambda place: write_marker(place, replace(MARKER, commit=Commit("c" * 40))),
    "what lies below": lambda place: write_marker(place, replace(MARKER, below="k" * 64)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_is_changed_is_found(place: Path, change: str) -> None:
    before = compute_digest(place)
    CHANGES[change](place)
    assert compute_digest(place) != before


def test_the_twin_a_copy_with_other_times_and_holes_is_the_same(place: Path, tmp_path: Path) -> None:
    with (place / FILE).open("r+b") as file:
        file.write(bytes(400_000))
    before = compute_digest(place)
    subprocess.run(
        ["cp", "-r", "--preserve=mode,ownership,xattr", "--sparse=always", place, tmp_path / "copy"], check=True
    )
    copied = tmp_path / "copy"
    assert (copied / FILE).stat().st_blocks < (place / FILE).stat().st_blocks
    assert (copied / FILE).stat().st_mtime != (place / FILE).stat().st_mtime
    write_marker(copied, replace(MARKER, id="2", synced=True, boot_id="other"))
    assert compute_digest(copied) == before


def test_holes_cost_nothing_and_no_special_file_is_opened(place: Path) -> None:
    os.mkfifo(place / "layers/1/pipe")
    with (place / "layers/1/sparse").open("wb") as file:
        file.truncate(1 << 42)
    before = compute_digest(place)
    with (place / "layers/1/sparse").open("r+b") as file:
        file.seek(1 << 41)
        file.write(b"1")
    assert compute_digest(place) != before


def test_of_files_with_several_names_few_are_remembered(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (place / f"layers/0/{number}").write_text(str(number))
        (place / f"layers/0/{number}-too").hardlink_to(place / f"layers/0/{number}")
    before = module._digest_of(place, MARKER)
    monkeypatch.setattr(module, "_MOST_LINKED", 2)
    assert module._digest_of(place, MARKER) == before == compute_digest(place)


def test_what_cannot_be_read_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="it has no marker"):
        compute_digest(tmp_path)
    (tmp_path / "git").mkdir()
    write_marker(tmp_path, MARKER)
    with pytest.raises(SandboxError, match="No such file"):
        compute_digest(tmp_path)


def test_a_digest_of_another_disk_says_nothing(place: Path) -> None:
    assert read_digest(place, MARKER) is None
    said = DiskDigest(id="1", flat=False, sha256="0" * 64)
    (place / DIGEST).write_text(json.dumps({"id": said.id, "flat": said.flat, "sha256": said.sha256}))
    assert read_digest(place, MARKER) == said
    assert read_digest(place, replace(MARKER, id="2")) is None
    assert read_digest(place, replace(MARKER, flat=True)) is None
    (place / DIGEST).write_text('{"id": "1"')
    assert read_digest(place, MARKER) is None
    assert read_marker(place) == MARKER
