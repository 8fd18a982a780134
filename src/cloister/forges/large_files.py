"""The large files (Git LFS) of a mirror: which pointers a commit has, and the objects that are here.

Objects are in `lfs/objects`, by digest, where `git lfs` looks for those of a repository that another one borrows from.
The pointers of a commit are in `cloister-large-1`, for the program that lays them into a work tree without this module.
"""

import hashlib
import os
import re
import stat
from collections.abc import AsyncIterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

import anyio
import anyio.to_thread

from cloister.errors import RepositoryError
from cloister.git import read_blobs, run_git
from cloister.model.large_file import LargeFile
from cloister.model.sandbox import Commit

LISTS = "cloister-large-1"
LONGEST_POINTER = 1024
_SHORTEST_POINTER = 100
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,17})\n"
)
"""See the specification of Git LFS; extensions of it, which change the object, are not known here."""
_READ_AT_ONCE = 1024 * 1024


async def read_large_files(mirror: Path, commit: Commit) -> Sequence[LargeFile]:
    """Return the pointers of a commit: read once, and kept. RepositoryError when the commit is not there."""
    kept = _kept(mirror, commit)
    if kept is not None:
        return kept
    found = await _find(mirror, commit)
    _keep(mirror, commit, found)
    return found


def parse_pointer(content: bytes) -> tuple[str, int] | None:
    """Return digest and size out of a pointer; None for what is none."""
    match = _POINTER.fullmatch(content) if len(content) <= LONGEST_POINTER else None
    return None if match is None else (match[1].decode(), int(match[2]))


def pointer_to(digest: str, size: int) -> bytes:
    """Return the pointer that git keeps in place of an object."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode()


class ObjectStore:
    """The objects of a mirror. Whatever is in it is what its digest says."""

    def __init__(self, mirror: Path) -> None:
        self._place = mirror / "lfs"

    def path_of(self, digest: str) -> Path:
        """Where an object is, or would be."""
        return self._place / "objects" / digest[:2] / digest[2:4] / digest

    def has(self, file: LargeFile) -> bool:
        """Whether its object is here."""
        with suppress(OSError):
            return self.path_of(file.digest).stat().st_size == file.size
        return False

    def use(self, file: LargeFile) -> bool:
        """Whether its object is here; then it is used now, see `large_prune`."""
        is_here = self.has(file)
        if is_here:
            with suppress(OSError):
                os.utime(self.path_of(file.digest))
        return is_here

    async def take(self, digest: str, size: int, content: AsyncIterable[bytes]) -> None:
        """Keep an object. RepositoryError, with nothing kept, when it is another one, or longer than it says."""
        draft = self._place / f"incoming-{token_hex(8)}"
        draft.parent.mkdir(exist_ok=True)
        found, length = hashlib.sha256(), 0
        try:
            async with await anyio.open_file(draft, "xb") as file:
                async for part in content:
                    length += len(part)
                    if length > size:
                        raise RepositoryError(f"the object {digest} is larger than the {size} bytes of its pointer")
                    found.update(part)
                    await file.write(part)
            if length != size or found.hexdigest() != digest:
                raise RepositoryError(f"what came for the object {digest} is not that: its SHA-256 is another one")
            await anyio.to_thread.run_sync(self._admit, draft, digest)
        except OSError as error:
            raise RepositoryError(f"the object {digest} cannot be kept: {error.strerror}") from error
        finally:
            draft.unlink(missing_ok=True)

    async def take_from(self, folder: Path, file: LargeFile) -> bool:
        """Keep an object of a repository on this machine, if it has it. RepositoryError when it is another one."""
        path = folder / "lfs/objects" / file.digest[:2] / file.digest[2:4] / file.digest
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        with os.fdopen(descriptor, "rb") as source:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                return False

            async def parts() -> AsyncIterable[bytes]:
                while part := await anyio.to_thread.run_sync(source.read, _READ_AT_ONCE):
                    yield part

            await self.take(file.digest, file.size, parts())
        return True

    def _admit(self, draft: Path, digest: str) -> None:
        draft.chmod(0o644)  # a sandbox reads it, as another user
        place = self.path_of(digest)
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.rename(place)


async def _find(mirror: Path, commit: Commit) -> Sequence[LargeFile]:
    listing = await run_git(["ls-tree", "-r", "-l", "-z", "--full-tree", commit], git_dir=mirror)
    rules, small = [], {}
    for entry, path in _entries(listing.stdout):
        mode, _, blob, size = entry.split()
        if not mode.startswith(b"100"):
            continue
        if path.rpartition(b"/")[2] == b".gitattributes":
            rules.append(blob.decode())
        elif _SHORTEST_POINTER < int(size) <= LONGEST_POINTER:
            small[path] = blob.decode()
    if not any(b"lfs" in text for text in (await read_blobs(sorted(set(rules)), git_dir=mirror)).values()):
        return ()
    contents = await read_blobs(sorted(set(small.values())), git_dir=mirror)
    pointers = {path: pointer for path, blob in small.items() if (pointer := parse_pointer(contents[blob])) is not None}
    named = await large_paths(mirror, commit, list(pointers))
    return [LargeFile(path=path, digest=pointers[path][0], size=pointers[path][1]) for path in named]


async def large_paths(
    mirror: Path, tree: str, paths: Sequence[bytes], variables: Mapping[str, str] | None = None
) -> Sequence[bytes]:
    """Return those of these paths that the attributes in a tree, or in the index of `variables`, give to Git LFS."""
    if not paths:
        return ()
    with TemporaryDirectory(prefix="cloister-index-") as folder:
        index = dict(variables or {"GIT_INDEX_FILE": f"{folder}/index"})
        if variables is None:
            await run_git(["read-tree", tree], git_dir=mirror, variables=index)
        asked = ["check-attr", "--cached", "-z", "--stdin", "filter"]
        stdin = b"".join(path + b"\0" for path in paths)
        answers = (await run_git(asked, git_dir=mirror, variables=index, stdin=stdin)).stdout.split(b"\0")
    return [path for path, value in zip(answers[0::3], answers[2::3], strict=False) if value == b"lfs"]


def _entries(listing: bytes) -> Iterator[tuple[bytes, bytes]]:
    for record in listing.split(b"\0")[:-1]:
        entry, _, path = record.partition(b"\t")
        yield entry, path


def _kept(mirror: Path, commit: Commit) -> Sequence[LargeFile] | None:
    try:
        records = (mirror / LISTS / commit).read_bytes().split(b"\0")[:-1]
    except FileNotFoundError:
        return None
    files = []
    for record in records:
        digest, size, path = record.split(b" ", 2)
        files.append(LargeFile(path=path, digest=digest.decode(), size=int(size)))
    return files


def _keep(mirror: Path, commit: Commit, found: Sequence[LargeFile]) -> None:
    place = mirror / LISTS / commit
    draft = place.with_name(f"{commit}.{token_hex(4)}")  # others may write the same now
    place.parent.mkdir(exist_ok=True)
    draft.write_bytes(b"".join(b"%s %d %s\0" % (it.digest.encode(), it.size, it.path) for it in found))
    draft.rename(place)
