"""Files that git keeps as pointers to large objects (Git LFS): laid into a work tree, and known again when it is read.

No filter is run for them. Where the pointer stands after a checkout, the object is put in its place, and git's index is
told of the file that stands there now, so that git, ours and an agent's, takes it for unchanged. The objects, and the
list of a commit's pointers, are in the mirror (see `cloister.forges.large_files`), because no network is here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloister.sandboxes.oci.worktree import trusted
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import trusted

LISTS = b"cloister-large-1"
"""Folder in the mirror: of each commit, `OID SIZE PATH` and NUL for every pointer."""
LONGEST_POINTER = 1024
"""Bytes; see the specification of Git LFS."""
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,17})\n"
)
_EARLIER_NS = 2_000_000_000
_HEADER, _STAT, _EXTENDED = 12, 40, 0x4000
Pointer = tuple[bytes, int]


def parse_pointer(content: bytes) -> Pointer | None:
    """Return digest and size out of a pointer file; None for what is none."""
    match = _POINTER.fullmatch(content) if len(content) <= LONGEST_POINTER else None
    return None if match is None else (match[1], int(match[2]))


def lay(places: trusted.Places, commit: str) -> None:
    """Put the objects that the mirror has in the place of their pointers, in a tree that git has just checked out."""
    laid = {}
    for digest, size, path in _read_list(places, commit):
        source = os.path.join(places.mirror, b"lfs/objects", digest[:2], digest[2:4], digest)
        target = os.path.join(places.tree, path)
        if _size_of(source) == size and _stands_there(target, (digest, size)):
            _put(source, target)
            laid[path] = os.lstat(target)
    if laid:
        _tell_index(os.path.join(places.git, b"index"), laid, digest_bytes=len(commit) // 2)


def take_back(places: trusted.Places, paths: Sequence[bytes], variables: Mapping[bytes, bytes], commit: str) -> None:
    """Put the pointers back at these of the listed paths: what a patch is against."""
    listed = {path for _, _, path in _read_list(places, commit)}
    mine = [path for path in paths if path in listed]
    for path in mine:
        os.unlink(os.path.join(places.tree, path))  # or git, which takes what was laid for the pointer, would stay away
    if mine:
        lines = b"".join(path + b"\0" for path in mine)
        trusted.git(["checkout-index", "--force", "-z", "--stdin"], variables, stdin=lines)


def is_same(path: bytes, pointer: Pointer) -> bool:
    """Whether a regular file is the object that the pointer stands for."""
    digest, size = pointer
    if _size_of(path) != size:
        return False
    with open(path, "rb") as file:
        found = hashlib.sha256()
        while part := file.read(1024 * 1024):
            found.update(part)
    return found.hexdigest().encode() == digest


def read_pointers(
    places: trusted.Places, blobs: Sequence[bytes], variables: Mapping[bytes, bytes]
) -> dict[bytes, Pointer]:
    """Return those of these blobs that are pointers. None are looked for where the mirror has no large object."""
    if not blobs or not os.path.isdir(os.path.join(places.mirror, b"lfs")):
        return {}
    names = b"".join(blob + b"\n" for blob in blobs)
    sizes = trusted.git(["cat-file", "--batch-check=%(objectname) %(objectsize)"], variables, stdin=names).split(b"\n")
    small = [line.split()[0] for line in sizes if line and _is_small(line)]
    if not small:
        return {}
    rest = trusted.git(
        ["cat-file", "--batch=%(objectname) %(objectsize)"], variables, stdin=b"".join(blob + b"\n" for blob in small)
    )
    found = {}
    while rest:
        head, _, rest = rest.partition(b"\n")
        blob, size = head.split()
        pointer = parse_pointer(rest[: int(size)])
        if pointer is not None:
            found[blob] = pointer
        rest = rest[int(size) + 1 :]
    return found


def _is_small(line: bytes) -> bool:
    size = line.split()[-1]
    return size.isdigit() and int(size) <= LONGEST_POINTER


def _read_list(places: trusted.Places, commit: str) -> Iterator[tuple[bytes, int, bytes]]:
    try:
        with open(os.path.join(places.mirror, LISTS, commit.encode()), "rb") as file:
            records = file.read().split(b"\0")[:-1]
    except FileNotFoundError:
        return
    for record in records:
        digest, size, path = record.split(b" ", 2)
        yield digest, int(size), path


def _stands_there(path: bytes, pointer: Pointer) -> bool:
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LONGEST_POINTER:
            return False
        with open(path, "rb") as file:
            return parse_pointer(file.read()) == pointer
    except OSError:
        return False


def _put(source: bytes, target: bytes) -> None:
    """Replace it. Broken off, it differs from what the index knows, so that the next checkout begins with the pointer.

    Its time is before that of the index, or git would look into the file to be sure.
    """
    before = os.lstat(target)
    os.unlink(target)
    made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(source, "rb") as data, open(made, "wb") as file:
        shutil.copyfileobj(data, file, 1024 * 1024)
    os.chmod(target, stat.S_IMODE(before.st_mode))
    at = before.st_mtime_ns - _EARLIER_NS
    os.utime(target, ns=(at, at))


def _size_of(path: bytes) -> int | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _tell_index(index: bytes, laid: Mapping[bytes, os.stat_result], *, digest_bytes: int) -> None:
    """Write into git's index what `lstat` says of these files now (gitformat-index(5), versions 2 and 3)."""
    with open(index, "rb") as file:
        content = bytearray(file.read())
    signature, version, count = struct.unpack_from(">4sII", content)
    if signature != b"DIRC" or version not in (2, 3):
        return
    at = _HEADER
    for _ in range(count):
        name_at = at + _STAT + digest_bytes + 2
        (flags,) = struct.unpack_from(">H", content, name_at - 2)
        name_at += 2 if flags & _EXTENDED else 0
        end = content.index(b"\0", name_at)
        status = laid.get(bytes(content[name_at:end]))
        if status is not None:
            _write_stat(content, at, status)
        at += (end - at + 8) // 8 * 8
    kind = hashlib.sha256 if digest_bytes == 32 else hashlib.sha1
    del content[-digest_bytes:]
    trusted.write(index, bytes(content) + kind(content).digest())


def _write_stat(content: bytearray, at: int, status: os.stat_result) -> None:
    values = (
        *divmod(status.st_ctime_ns, 1_000_000_000),
        *divmod(status.st_mtime_ns, 1_000_000_000),
        status.st_dev,
        status.st_ino,
    )
    struct.pack_into(">6I", content, at, *(value & 0xFFFFFFFF for value in values))
    owner = (status.st_uid, status.st_gid, status.st_size)
    struct.pack_into(">3I", content, at + 28, *(value & 0xFFFFFFFF for value in owner))
