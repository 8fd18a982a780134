"""The file of a backup: a tar archive, compressed, with the digest of each part in its last one."""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec
import zstandard

from cloister.errors import DiskFullError, HostError, UsageError

FORMAT = 1
MANIFEST = "manifest.json"

_CHUNK = 1024 * 1024
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)
_MOST_MANIFEST = 256 * 1024**2
_FULL = (28, 122)  # ENOSPC, EDQUOT


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a backup."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    format: int
    created_at: str
    cloister: str
    """Version that made it."""
    revision: str
    """Of the database's tables."""
    keys: str
    """`none`, `sealed` under a passphrase, or `clear`."""
    parts: list[Part]


@dataclass(slots=True)
class ArchiveWriter:
    """Adds parts, and remembers their digests."""

    _tar: tarfile.TarFile
    parts: list[Part] = field(default_factory=list)

    def add(self, path: str, source: IO[bytes], size: int) -> None:
        """Add `size` bytes of a stream. HostError when it has fewer."""
        digest = _Digesting(source, size)
        info = tarfile.TarInfo(path)
        info.size, info.mode = size, 0o600
        try:
            self._tar.addfile(info, digest)
        except tarfile.TarError as error:
            raise HostError(f"{path} became shorter while it was read") from error
        self.parts.append(Part(path=path, size=size, sha256=digest.hexdigest()))

    def add_bytes(self, path: str, data: bytes) -> None:
        """Add a small part."""
        self.add(path, io.BytesIO(data), len(data))


class _Digesting(io.RawIOBase):
    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source, self._left = source, size
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


@contextmanager
def writing(target: Path) -> Iterator[ArchiveWriter]:
    """Write a new file that only its owner reads, whole or not at all.

    UsageError when there is one; DiskFullError, HostError.
    """
    if target.exists():
        raise UsageError(f"{target} is there already", hint="name another file: a backup replaces none")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with (
            _created(draft) as file,
            zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False) as packed,
            tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as tar,
        ):
            yield ArchiveWriter(tar)
        draft.rename(target)
    except OSError as error:
        kind = DiskFullError if error.errno in _FULL else HostError
        raise kind(f"the backup {target} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _created(path: Path) -> Iterator[IO[bytes]]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
        file.flush()
        os.fsync(descriptor)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(source: Path, into: Path) -> Manifest:
    """Write all parts into an empty directory, and return the manifest once every digest is as that says.

    UsageError when the file is no backup, is damaged or cut, or is of a later format; DiskFullError.
    """
    try:
        with source.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as packed:
            found, manifest = _unpack(packed, into)
    except (tarfile.TarError, zstandard.ZstdError, EOFError) as error:
        raise UsageError(f"{source} is no backup, or is damaged: {error}") from error
    except OSError as error:
        kind = DiskFullError if error.errno in _FULL else UsageError
        raise kind(f"the backup {source} cannot be read: {error.strerror or error}") from error
    if manifest is None:
        raise UsageError(f"{source} is no whole backup: its end is missing")
    if {part.path: part for part in manifest.parts} != {part.path: part for part in found}:
        raise UsageError(f"{source} is damaged: what is in it is not what its manifest says")
    return manifest


def _unpack(packed: IO[bytes], into: Path) -> tuple[list[Part], Manifest | None]:
    found: list[Part] = []
    with tarfile.open(fileobj=packed, mode="r|") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or not _is_safe(member.name):
                raise tarfile.TarError(f"{member.name!r} has no place in a backup")
            if member.name == MANIFEST:
                return found, _read_manifest(content.read(_MOST_MANIFEST))
            found.append(_write(content, member.name, into))
    return found, None


def _write(content: IO[bytes], name: str, into: Path) -> Part:
    path = into / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with path.open("xb") as file:
        path.chmod(0o600)
        while data := content.read(_CHUNK):
            file.write(data)
            digest.update(data)
            size += len(data)
        file.flush()
        os.fsync(file.fileno())
    return Part(path=name, size=size, sha256=digest.hexdigest())


def _read_manifest(data: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise tarfile.TarError("its manifest cannot be read") from error
    if manifest.format > FORMAT:
        raise tarfile.TarError("it was made by a newer Cloister; update this installation")
    return manifest


def _is_safe(name: str) -> bool:
    return len(PurePosixPath(name).parts) <= 3 and all(_SAFE_NAME.fullmatch(part) for part in name.split("/"))
