"""Reads the archive of one layer, which anybody may have made, and refuses what no image needs."""

import gzip
import hashlib
import stat
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast
from urllib.parse import unquote
from zlib import error as zlib_error

import zstandard

from cloister.errors import SandboxError
from cloister.sandboxes.oci.image_tree import UID_RANGE

Kind = Literal["file", "directory", "symbolic link", "hard link"]

_BLOCK = 512
_CHUNK = 1 << 20
_MOST_HEADER_BYTES = 1 << 20
"""Of one entry, with its extended headers: tarfile reads these into memory, whatever size they say."""
_LONGEST_NAME = 255
LONGEST_PATH = 3000
"""Bytes: host paths have the state directory in front, and end at 4096."""
DEEPEST = 256
_WIDEST_WINDOW = 1 << 27
"""Of zstd, which holds it in memory: what its own program takes without being told to."""
_LATEST_TIME = 1 << 33
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE)
_XATTR_PREFIXES = ("SCHILY.xattr.", "LIBARCHIVE.xattr.")
_OVERLAY = ("trusted.overlay.", "user.overlay.")
_KINDS: Mapping[bytes, Kind] = {
    **dict.fromkeys(_REGULAR, "file"),
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symbolic link",
    tarfile.LNKTYPE: "hard link",
}


class RefusedLayerError(SandboxError):
    """A layer is damaged, or made to do harm. Names the layer and the entry."""


@dataclass(slots=True, kw_only=True)
class Allowance:
    """What the layers of one image may still take up together; used up while they are read."""

    bytes: int = 64 << 30
    entries: int = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """One entry that has passed."""

    parts: tuple[str, ...]
    """The path's components; none is `.` or `..`. None at all: the root itself."""
    kind: Kind
    mode: int
    uid: int
    gid: int
    modified: int
    """Seconds since 1970."""
    size: int
    target: str = ""
    """Of a symbolic link, as it is written."""
    link: tuple[str, ...] = ()
    """The components of the path that a hard link shares its file with."""


class LayerReader:
    """Goes once through a layer's entries.

    `name` is what errors call the layer; `diff_id` the digest that the unpacked archive must have.
    """

    def __init__(self, archive: Path, *, name: str, diff_id: str, allowance: Allowance) -> None:
        self._archive = archive
        self._name = name
        self._diff_id = diff_id
        self._allowance = allowance

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Translate the errors of reading `entries` and what they yield into RefusedLayerError."""
        try:
            yield
        except (tarfile.TarError, zlib_error, gzip.BadGzipFile, zstandard.ZstdError, EOFError, ValueError) as error:
            raise RefusedLayerError(f"layer {self._name} is damaged: {error}") from error
        except _TooMuchError as error:
            raise RefusedLayerError(f"layer {self._name}: {error}") from error

    def entries(self) -> Iterator[tuple[LayerEntry, IO[bytes] | None]]:
        """Yield each entry, and the content of a file, which must be read before the next.

        To be used inside `reading`. RefusedLayerError for the first entry that does not pass, and at the end for an
        archive that is not whole.
        """
        with _open(self._archive) as unpacked:
            stream = _Stream(unpacked, self._allowance)
            with tarfile.TarFile(fileobj=stream, mode="r", encoding="utf-8") as archive:  # type: ignore[arg-type]
                yield from self._checked(archive, stream)
            self._check_end(stream)

    def _checked(self, archive: tarfile.TarFile, stream: "_Stream") -> Iterator[tuple[LayerEntry, IO[bytes] | None]]:
        while (member := _next(archive, stream)) is not None:
            try:
                entry = _check(member)
                self._count(entry, sparse=member.issparse())
            except _RefusedEntryError as error:
                shown = ascii(member.name[:_LONGEST_NAME])
                raise RefusedLayerError(f"layer {self._name}, entry {shown}: {error}") from error
            yield entry, archive.extractfile(member) if entry.kind == "file" else None

    def _count(self, entry: LayerEntry, *, sparse: bool) -> None:
        self._allowance.entries -= 1
        if self._allowance.entries < 0:
            raise _RefusedEntryError("the image has too many entries")
        if sparse:  # its holes are not in the archive, and are written out
            self._allowance.bytes -= entry.size
        if self._allowance.bytes < 0:
            raise _RefusedEntryError("the image is too large when it is unpacked")

    def _check_end(self, stream: "_Stream") -> None:
        if stream.last.strip(b"\0"):  # tarfile takes a damaged header for the end
            raise RefusedLayerError(f"layer {self._name} is damaged: a header in it cannot be read")
        stream.drain()
        if f"sha256:{stream.digest.hexdigest()}" != self._diff_id:
            raise RefusedLayerError(f"layer {self._name} is not what the image's configuration says: {self._diff_id}")


class _RefusedEntryError(Exception):
    """Why an entry does not pass."""


class _TooMuchError(Exception):
    """A limit was reached while the archive was read."""


class _Stream:
    """What tarfile reads from: counts, digests, and bounds the bytes of headers. Goes forward only."""

    def __init__(self, source: IO[bytes], allowance: Allowance) -> None:
        self._source = source
        self._allowance = allowance
        self._position = 0
        self._headers: int | None = _MOST_HEADER_BYTES
        self.digest = hashlib.sha256()
        self.last = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        if self._headers is not None:
            self._headers -= size
            if self._headers < 0:
                raise _TooMuchError("the headers of an entry are too large")
        self.last = self._take(size)
        return self.last

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._position

    def seek(self, position: int) -> None:
        """Read up to `position`."""
        if position < self._position:
            raise ValueError("an entry lies before the one that it follows")
        while self._position < position and self._take(min(_CHUNK, position - self._position)):
            pass

    def drain(self) -> None:
        """Read what follows the archive."""
        while self._take(_CHUNK):
            pass

    def in_headers(self, inside: bool) -> None:
        """Begin the headers of another entry, or end them."""
        self._headers = _MOST_HEADER_BYTES if inside else None

    def _take(self, size: int) -> bytes:
        content = self._source.read(size)
        self._position += len(content)
        self._allowance.bytes -= len(content)
        if self._allowance.bytes < 0:
            raise _TooMuchError("the image is too large when it is unpacked")
        self.digest.update(content)
        return content


def _open(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        return cast("IO[bytes]", gzip.open(archive, "rb"))
    if start == zstandard.FRAME_HEADER:
        unpacking = zstandard.ZstdDecompressor(max_window_size=_WIDEST_WINDOW)
        return cast("IO[bytes]", unpacking.stream_reader(archive.open("rb"), read_across_frames=True, closefd=True))
    return archive.open("rb")


def _next(archive: tarfile.TarFile, stream: _Stream) -> tarfile.TarInfo | None:
    stream.in_headers(True)
    member = archive.next()
    stream.in_headers(False)
    archive.members = []  # type: ignore[attr-defined]  # it would keep them all
    if sum(len(name) + len(value) for name, value in archive.pax_headers.items()) > _MOST_HEADER_BYTES:
        raise _TooMuchError("its global headers are too large")
    return member


def _check(member: tarfile.TarInfo) -> LayerEntry:
    kind = _KINDS.get(member.type)
    if kind is None:
        raise _RefusedEntryError("it is a device, a pipe or of an unknown kind, which an image cannot hold")
    _check_attributes(member)
    parts = path_parts(member.name)
    return LayerEntry(
        parts=parts,
        kind=kind,
        mode=stat.S_IMODE(member.mode),
        uid=_owner(member.uid),
        gid=_owner(member.gid),
        modified=int(min(max(member.mtime, 0), _LATEST_TIME)),
        size=member.size if kind == "file" else 0,
        target=_symbolic_target(parts, member.linkname) if kind == "symbolic link" else "",
        link=path_parts(member.linkname) if kind == "hard link" else (),
    )


def path_parts(path: str) -> tuple[str, ...]:
    """Return the components of an entry's path below the root. Refuses those that lead elsewhere."""
    shown = ascii(path[:_LONGEST_NAME])
    if path.startswith("/"):
        raise _RefusedEntryError(f"{shown} is an absolute path")
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    encoded = [part.encode(errors="surrogateescape") for part in parts]
    if ".." in parts:
        raise _RefusedEntryError(f"{shown} leads out of its folder with `..`")
    if "\0" in path:
        raise _RefusedEntryError(f"{shown} has a zero byte")
    if any(len(part) > _LONGEST_NAME for part in encoded) or sum(map(len, encoded)) + len(parts) > LONGEST_PATH:
        raise _RefusedEntryError("its name is too long")
    if len(parts) > DEEPEST:
        raise _RefusedEntryError("it lies too deep")
    return parts


def _symbolic_target(parts: tuple[str, ...], target: str) -> str:
    """Return a target that stays in the root by its letters; an absolute one begins at the container's root."""
    if not target or "\0" in target or len(target.encode(errors="surrogateescape")) > LONGEST_PATH:
        raise _RefusedEntryError("it is a symbolic link to nothing that can be named")
    depth = 0 if target.startswith("/") else len(parts) - 1
    for part in target.split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            raise _RefusedEntryError(f"it is a symbolic link out of the root, to {target!a}")
    return target


def _owner(number: int) -> int:
    if not 0 <= number < UID_RANGE:
        raise _RefusedEntryError(f"it belongs to {number}, beyond the {UID_RANGE} ids of a container")
    return number


def _check_attributes(member: tarfile.TarInfo) -> None:
    """Refuse what overlayfs would obey. No extended attribute of the archive is ever set."""
    for key in member.pax_headers:
        for prefix in _XATTR_PREFIXES:
            attribute = unquote(key.removeprefix(prefix))
            if key.startswith(prefix) and attribute.startswith(_OVERLAY):
                raise _RefusedEntryError(f"it has the attribute {attribute!a}, which is overlayfs's own")
