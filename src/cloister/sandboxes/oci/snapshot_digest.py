"""Computes the digest of a kept disk: `python -m cloister.sandboxes.oci.snapshot_digest PLACE`.

A program of its own, without a network or rights it does not need, because anybody may have written what it reads.
Times are no part of the digest, nor is which blocks of a file are holes: copying a disk changes both.
"""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cloister.errors import SandboxError
from cloister.sandboxes.oci.disk import git_of, layers_of
from cloister.sandboxes.oci.snapshot_marker import FLAT, SnapshotMarker, read_marker

DIGEST = "digest.json"
COMMAND = (
    *("unshare", "--net", "--ipc", "--", "prlimit", f"--as={1024**3}", "--"),
    # dac_read_search: whoever made a file may have kept it to himself. sys_admin: overlayfs' own attributes.
    *("setpriv", "--pdeathsig", "KILL", "--no-new-privs", "--inh-caps=-all"),
    *("--bounding-set=-all,+dac_read_search,+sys_admin", "--", sys.executable, "-I", "-B", "-m", __name__),
)
_BLOCK_BYTES = 256 * 1024
_ZEROS = bytes(_BLOCK_BYTES)
_MOST_LINKED = 100_000
"""Files with several names whose digests are remembered at once."""
_HOSTS_OWN_ATTRIBUTES = ("security.selinux",)
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskDigest:
    """What was computed of a kept disk, without those below it."""

    id: str
    flat: bool
    """Both are the marker's: of a disk that was kept anew, or merged since, this says nothing."""
    sha256: str | None = None
    flaw: str = ""
    """Why there is no digest."""


def read_digest(place: Path, marker: SnapshotMarker) -> DiskDigest | None:
    """Return what was computed of the disk at `place`, as `marker` has it; None as long as nothing was."""
    try:
        digest = DiskDigest(**json.loads((place / DIGEST).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return digest if (digest.id, digest.flat) == (marker.id, marker.flat) else None


def compute_digest(place: Path) -> str:
    """Compute it now, in another process. SandboxError when that cannot be done."""
    done = subprocess.run([*COMMAND, str(place)], capture_output=True, check=False)
    try:
        digest = DiskDigest(**json.loads(done.stdout))
    except (ValueError, TypeError):
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        digest = DiskDigest(id="", flat=False, flaw=said or f"status {done.returncode}")
    if digest.sha256 is None:
        raise SandboxError(f"the digest of the snapshot {place.name[:12]} cannot be computed: {digest.flaw}")
    return digest.sha256


def main() -> None:
    """Print the digest of the disk at the given place, or why it has none, as a line of JSON."""
    place = Path(sys.argv[1])
    marker = read_marker(place)
    if marker is None:
        sys.exit("it has no marker")
    try:
        digest = DiskDigest(id=marker.id, flat=marker.flat, sha256=_digest_of(place, marker))
    except OSError as error:  # a path that is too long for anybody, or a disk that fails
        digest = DiskDigest(id=marker.id, flat=marker.flat, flaw=os.strerror(error.errno or errno.EIO))
    print(json.dumps(asdict(digest)))


def _digest_of(place: Path, marker: SnapshotMarker) -> str:
    layers = [place / FLAT] if marker.flat else layers_of(place, marker.layers)
    below = "" if marker.flat else marker.below or ""
    digest = hashlib.sha256(_framed(marker.image.encode(), marker.commit.encode(), below.encode()))
    linked: dict[int, bytes] = {}
    for tree in (git_of(place), *layers):
        digest.update(_framed(os.fsencode(tree.relative_to(place))))
        for path in _walk(os.fsencode(tree)):
            digest.update(_entry(os.fsencode(tree), path, linked))
    return digest.hexdigest()


def _walk(root: bytes) -> Iterator[bytes]:
    """Yield the paths from `root` on, its own (empty) first, in an order that only names decide."""
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        yield path
        if stat.S_ISDIR(os.lstat(root + path).st_mode):
            waiting.extend(sorted((path + b"/" + name for name in os.listdir(root + path)), reverse=True))


def _entry(root: bytes, path: bytes, linked: dict[int, bytes]) -> bytes:
    place = root + path
    status = os.lstat(place)
    content = b""
    if stat.S_ISREG(status.st_mode):
        content = _digest_of_file(place, status, linked)
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(place)
    elif not stat.S_ISDIR(status.st_mode):
        content = str(status.st_rdev).encode()
    facts = f"{status.st_mode:o} {status.st_uid} {status.st_gid}".encode()
    return _framed(path, facts, content, _framed(*_attributes(place)))


def _attributes(place: bytes) -> Iterator[bytes]:
    for name in sorted(os.listxattr(place, follow_symlinks=False)):
        if name not in _HOSTS_OWN_ATTRIBUTES:
            yield name.encode(errors="surrogateescape")
            yield os.getxattr(place, name, follow_symlinks=False)


def _digest_of_file(place: bytes, status: os.stat_result, linked: dict[int, bytes]) -> bytes:
    if status.st_nlink == 1:
        return _digest_of_content(place)
    if status.st_ino not in linked:
        if len(linked) >= _MOST_LINKED:
            linked.clear()
        linked[status.st_ino] = _digest_of_content(place)
    return linked[status.st_ino]


def _digest_of_content(place: bytes) -> bytes:
    """Hash its size, and each block with its number that is not all zeros: a hole may be larger than any disk."""
    file = os.open(place, _OPEN_FLAGS)
    try:
        digest = hashlib.sha256(str(os.fstat(file).st_size).encode())
        at = 0
        while (at := _next_data(file, at)) >= 0:
            number = at // _BLOCK_BYTES
            block = os.pread(file, _BLOCK_BYTES, number * _BLOCK_BYTES)
            if block != _ZEROS[: len(block)]:
                digest.update(number.to_bytes(8) + block)
            at = (number + 1) * _BLOCK_BYTES
        return digest.digest()
    finally:
        os.close(file)


def _next_data(file: int, at: int) -> int:
    """Return where the next byte is that was written; -1 when there is none."""
    try:
        return os.lseek(file, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return -1


def _framed(*fields: bytes) -> bytes:
    """Put fields one behind another such that no others give the same."""
    return b"".join(b"%d:%b" % (len(field), field) for field in (b"%d" % len(fields), *fields))


if __name__ == "__main__":
    main()
