"""Packages are unpacked in one place and no other, whatever their archives say."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cloister.errors import DiskFullError, SandboxError
from cloister.sandboxes.oci import image_unpackage
from cloister.sandboxes.oci.image_unpackage import unpack_package


def _wheel(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    return path


def _npm(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as package:
        for info, content in members:
            info.size = len(content)
            package.addfile(info, io.BytesIO(content))
    return path


def _file(name: str, content: bytes = b"text") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), content


def _link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def _everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()}


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_a_wheel_writes_nothing_outside(tmp_path: Path, name: str) -> None:
    archive = _wheel(tmp_path / "x.whl", {name: b"", "in": b""})
    unpack_package(archive, tmp_path / "new")
    outside = _everything(tmp_path) - {"x.whl"}
    assert "new/in" in outside
    assert all(path.startswith("new/") for path in outside)
    assert not Path("/out").exists()


@pytest.mark.parametrize(
    "member",
    [
        _file("package/../../out"),
        _link("package/link", "/etc"),
        _link("package/link", "../../.."),
        _link("package/link", "../../../etc/passwd", tarfile.LNKTYPE),
        _link("package/null", "", tarfile.CHRTYPE),
        _link("package/pipe", "", tarfile.FIFOTYPE),
    ],
)
def test_an_npm_package_that_reaches_out_is_refused(tmp_path: Path, member: tuple[tarfile.TarInfo, bytes]) -> None:
    archive = _npm(tmp_path / "x.tgz", member)
    with pytest.raises(SandboxError, match=r"x\.tgz cannot be unpacked"):
        unpack_package(archive, tmp_path / "new")
    assert _everything(tmp_path) == {"x.tgz"}


@pytest.mark.parametrize(
    "members",
    [
        [_link("package/here", "."), _link("package/out", "here/here/..")],
        [_link("package/out", "here/.."), _link("package/here", ".")],
        [_link("package/here", "."), _file("package/here")],
        [_file("package/a"), _file("package/a/b")],
        [_file("package/a/b"), _file("package/a")],
    ],
    ids=["through another link", "through a later link", "file and link", "folder and file", "file and folder"],
)
def test_members_that_only_together_do_harm_are_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    archive = _npm(tmp_path / "x.tgz", *members)
    with pytest.raises(SandboxError, match=r"x\.tgz cannot be unpacked"):
        unpack_package(archive, tmp_path / "new")
    assert _everything(tmp_path) == {"x.tgz"}


@pytest.mark.parametrize("name", ["x.whl", "x.tgz"])
@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00"])
def test_a_damaged_archive_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SandboxError, match="cannot be unpacked"):
        unpack_package(tmp_path / name, tmp_path / "new")


@pytest.mark.parametrize("kind", ["wheel", "npm"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_unpackage, "_MOST_BYTES", 1000)
    content = b"0" * 1001
    if kind == "wheel":
        archive = _wheel(tmp_path / "x.whl", {"a": content})
    else:
        archive = _npm(tmp_path / "x.tgz", _file("package/a", content))
    with pytest.raises(DiskFullError):
        unpack_package(archive, tmp_path / "new")
    assert _everything(tmp_path / "new") == set()


def test_what_begins_like_a_program_can_be_run(tmp_path: Path) -> None:
    archive = _wheel(tmp_path / "x.whl", {"bin/go": b"\x7fELF....", "bin/script": b"#!/bin/sh", "doc": b"text"})
    unpack_package(archive, tmp_path / "new")
    modes = {path: (tmp_path / "new" / path).stat().st_mode & 0o777 for path in ("bin/go", "bin/script", "doc")}
    assert modes == {"bin/go": 0o755, "bin/script": 0o755, "doc": 0o644}


def test_an_npm_package_is_unpacked_without_its_outer_folder_and_with_its_links(tmp_path: Path) -> None:
    link = _link("package/bin/npm", "../lib/npm.js")
    archive = _npm(tmp_path / "x.tgz", _file("package/lib/npm.js"), link, _file("package//absolute"))
    unpack_package(archive, tmp_path / "new")
    assert _everything(tmp_path / "new") == {"lib/npm.js", "bin/npm", "absolute"}
    assert (tmp_path / "new/bin/npm").read_text() == "text"
