"""What is pushed of large files (Git LFS): pointers in the commit, and their objects on the server before it."""

import hashlib
from collections.abc import AsyncIterable, Mapping, Sequence
from pathlib import Path

import anyio

from cloister.errors import CloisterError, DeniedError, RepositoryError, UnreachableError
from cloister.forges.large_files import (
    LONGEST_POINTER,
    ObjectStore,
    large_paths,
    parse_pointer,
    pointer_to,
)
from cloister.forges.large_server import LargeServer
from cloister.forges.mirror import FETCH_SECONDS
from cloister.git import read_blobs, read_sizes, run_git
from cloister.model.large_file import LargeFile
from cloister.model.sandbox import Commit


async def put_pointers(mirror: Path, base: Commit, index: Mapping[str, str]) -> None:
    """In an index, let changed files that the attributes give to Git LFS be pointers; their content is kept."""
    changed = await _changed(mirror, base, index)
    named = await large_paths(mirror, base, list(changed), index)
    if not named:
        return
    lines = []
    for path in named:
        mode, blob = changed[path]
        content = (await read_blobs([blob], git_dir=mirror))[blob]  # one by one: each is held in memory
        if parse_pointer(content) is None:
            pointer = await _keep(mirror, content)
            lines.append(f"{mode} {pointer}\t".encode() + path + b"\0")
    if lines:
        await run_git(["update-index", "-z", "--index-info"], git_dir=mirror, variables=index, stdin=b"".join(lines))


async def give_objects(mirror: Path, commit: Commit, server: LargeServer) -> int:
    """Give the server the objects of the pointers that a commit brings, where they are here; return how many it lacked.

    DeniedError when it does not take them: a branch would have pointers to nothing.
    """
    if not (mirror / "lfs").is_dir():
        return 0
    asked = ["rev-list", "--objects", "--no-object-names", commit, "--not", "--branches", "--tags"]
    new = (await run_git(asked, git_dir=mirror)).stdout.decode().split()
    small = [blob for blob, size in (await read_sizes(new, git_dir=mirror)).items() if size <= LONGEST_POINTER]
    pointers = {parse_pointer(content) for content in (await read_blobs(small, git_dir=mirror)).values()}
    store = ObjectStore(mirror)
    files = [LargeFile(path=b"", digest=it[0], size=it[1]) for it in sorted(filter(None, pointers))]
    here = [file for file in files if store.use(file)]
    if not here:
        return 0
    try:
        with anyio.fail_after(FETCH_SECONDS):
            return await server.upload(here, store)
    except TimeoutError as error:
        raise UnreachableError(
            f"the large files of the change did not arrive within {FETCH_SECONDS / 60:.0f} minutes, "
            "so nothing was pushed"
        ) from error
    except UnreachableError as error:
        raise UnreachableError(
            f"the large files of the change did not arrive, so nothing was pushed: {error}"
        ) from error
    except CloisterError as error:
        raise DeniedError(
            f"the large files of the change cannot be given to the server, so nothing was pushed: {error}",
            hint="its owner may have to allow Git LFS, or more room for it",
        ) from error


async def _changed(mirror: Path, base: Commit, index: Mapping[str, str]) -> Mapping[bytes, tuple[str, str]]:
    """Return mode and blob of each regular file that the index has otherwise than a commit."""
    asked = ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--full-index", base]
    parts: Sequence[bytes] = (await run_git(asked, git_dir=mirror, variables=index)).stdout.split(b"\0")
    found = {}
    for about, path in zip(parts[0::2], parts[1::2], strict=False):
        _, mode, _, blob, _ = about.decode().split(" ")
        if mode.startswith("100"):
            found[path] = (mode, blob)
    return found


async def _keep(mirror: Path, content: bytes) -> str:
    """Keep an object, and return the blob of its pointer."""
    digest = hashlib.sha256(content).hexdigest()

    async def parts() -> AsyncIterable[bytes]:
        yield content

    try:
        await ObjectStore(mirror).take(digest, len(content), parts())
    except RepositoryError as error:
        raise RepositoryError(f"a large file of the change cannot be kept: {error}") from error
    pointer = pointer_to(digest, len(content))
    return (await run_git(["hash-object", "-w", "--stdin"], git_dir=mirror, stdin=pointer)).stdout.decode().strip()
