"""Unpacks what is in a file, one level deep, in the forms that common tools write. Anybody may have made the file.

A file that is damaged is unpacked as far as it goes, as its own tool does.
"""

import bz2
import gzip
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Protocol, cast

import zstandard

from cloister.residue import CHUNK_BYTES

HEAD_BYTES = 512
"""By these a file is known."""
_READ_BYTES = 16 * 1024
_END_OF_ZIP_BYTES = 22
_DAMAGED = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, tarfile.TarError)
_ERRORS = (*_DAMAGED, lzma.LZMAError, zlib.error, zstandard.ZstdError)
_SKIPPED_FRAME = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
"""With which zstd's parallel program begins (RFC 8878, 3.1.2)."""
_PACK_HEADER_BYTES = 12
_OFFSET_DELTA, _NAMED_DELTA = 6, 7
_NAME_BYTES = 20
"""Of the object that a delta is of; repositories with SHA-256 write offsets."""


@dataclass(slots=True)
class Allowance:
    """What the members of one archive may still be unpacked to, together: they may share their packed bytes."""

    bytes: int


def unpack(file: IO[bytes], head: bytes, allowance: Allowance) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield what each member is called, and its bytes; nothing of what is not packed. Use each before the next.

    `head` are the first HEAD_BYTES. MemoryError when it takes more memory than there is.
    """
    if _is_zip(file, head):
        with suppress(*_ERRORS):
            for name, content in _members_of_zip(file):
                yield name, _bounded(_read(content), allowance)
        return
    file.seek(0)
    if head.startswith(b"PACK\0\0\0"):
        yield "one of git's objects", _bounded(_batched(_objects_of_pack(file)), allowance)
    elif _is_zlib(head):
        yield "its content", _bounded(_inflate(file), allowance)
    elif (opener := _opener_of(head)) is not None:
        yield "its content", _bounded(_read(opener(file)), allowance)  # a tar in there holds files as they are


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def _open_zstd(file: IO[bytes]) -> _Readable:
    reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    return cast("_Readable", reader)


_OPENERS: Mapping[bytes, Callable[[IO[bytes]], _Readable]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}


def _opener_of(head: bytes) -> Callable[[IO[bytes]], _Readable] | None:
    if _SKIPPED_FRAME.match(head):
        return _open_zstd
    if _is_lzma(head):
        return lzma.LZMAFile
    return next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)


def _is_lzma(head: bytes) -> bool:
    """Whether it is xz's older form, which has no magic number: usual properties, and sizes that make sense."""
    dictionary, size = int.from_bytes(head[1:5], "little"), int.from_bytes(head[5:13], "little")
    usual = dictionary.bit_count() == 1 and 1 << 12 <= dictionary <= 1 << 30
    return head[:1] == b"\x5d" and usual and (size < 1 << 40 or size == (1 << 64) - 1)


def _is_zlib(head: bytes) -> bool:
    """Whether it begins as a stream of RFC 1950 does with the usual window. Git's loose objects are such."""
    return len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2]) % 31 == 0


def _is_zip(file: IO[bytes], head: bytes) -> bool:
    """Also behind a program's first line, or a program that unpacks itself."""
    if head.startswith(b"PK\x03\x04"):
        return True
    if not head.startswith((b"#!", b"MZ", b"\x7fELF")) or os.fstat(file.fileno()).st_size < _END_OF_ZIP_BYTES:
        return False
    file.seek(-_END_OF_ZIP_BYTES, os.SEEK_END)
    return file.read(4) == b"PK\x05\x06"


def _members_of_zip(file: IO[bytes]) -> Iterator[tuple[str, _Readable]]:
    """Those that are compressed; the others are in the file as they are."""
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            if not entry.is_dir() and entry.compress_type != zipfile.ZIP_STORED:
                with suppress(*_ERRORS), archive.open(entry) as content:
                    yield entry.filename, cast("_Readable", content)


def _read(content: _Readable) -> Iterator[bytes]:
    while chunk := content.read1(CHUNK_BYTES):
        yield chunk


def _bounded(chunks: Iterator[bytes], allowance: Allowance) -> Iterator[bytes]:
    with suppress(*_ERRORS):
        while allowance.bytes > 0 and (chunk := next(chunks, None)) is not None:
            allowance.bytes -= len(chunk)
            yield chunk


def _inflate(file: IO[bytes], data: bytes = b"") -> Generator[bytes, None, bytes]:
    """Yield what one stream inflates to, and return the bytes behind it. `data` comes before what is in the file."""
    inflater = zlib.decompressobj()
    while not inflater.eof and (data := data or file.read(_READ_BYTES)):
        if chunk := inflater.decompress(data, CHUNK_BYTES):
            yield chunk
        data = inflater.unconsumed_tail
    return inflater.unused_data


def _objects_of_pack(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the objects of a pack (gitformat-pack(5)), and of deltas what they add."""
    left = int.from_bytes(file.read(_PACK_HEADER_BYTES)[8:])
    data = b""
    while left > 0:
        if len(data) < _NAME_BYTES * 2:
            data += file.read(_READ_BYTES)
        left -= 1
        yield b"\0"
        data = yield from _inflate(file, data[_length_of_entry_header(data) :])


def _length_of_entry_header(data: bytes) -> int:
    kind = data[0] >> 4 & 7
    at = _end_of_number(data, 0)
    if kind == _OFFSET_DELTA:
        return _end_of_number(data, at)
    return at + _NAME_BYTES if kind == _NAMED_DELTA else at


def _end_of_number(data: bytes, at: int) -> int:
    while data[at] & 0x80:
        at += 1
    return at + 1


def _batched(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Join small ones: each that is searched costs something."""
    batch, size = [], 0
    try:
        for chunk in chunks:
            batch.append(chunk)
            size += len(chunk)
            if size >= CHUNK_BYTES:
                yield b"".join(batch)
                batch, size = [], 0
    except (*_ERRORS, IndexError):  # a pack that is cut off
        pass
    yield b"".join(batch)
