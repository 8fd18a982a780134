"""Looks through a change in the host's own repository for what deserves a second look."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from anyio import to_thread

from cloister.git import read_blobs, read_sizes, run_git
from cloister.hygiene import LARGEST_READ_BYTES, ChangedFile, flags_of
from cloister.model.flag import Flag
from cloister.model.sandbox import MOST_PATHS, Commit

_MOST_READ_BYTES = 64 * 1024**2
"""Of one change: what comes after it is flagged for not being looked into."""
_SUBMODULE = 0o160000


async def look_through(repository: Path, base: Commit, commit: Commit) -> tuple[tuple[str, ...], tuple[Flag, ...]]:
    """Return the paths and the flags of a change, both of whose commits are in `repository`."""
    listed = await run_git(["diff-tree", "-r", "-z", "--no-renames", base, commit], git_dir=repository)
    entries = list(_entries(listed.stdout))
    blobs = {blob: None for _, modes, pair in entries for mode, blob in zip(modes, pair, strict=True) if mode != 0}
    pointers = {pair[side] for _, modes, pair in entries for side in (0, 1) if modes[side] == _SUBMODULE}
    sizes = await read_sizes([blob for blob in blobs if blob not in pointers], git_dir=repository)
    contents = await read_blobs(list(_small(sizes)), git_dir=repository)
    files = [
        ChangedFile(
            path=path.decode(errors="replace"),
            old_mode=modes[0],
            new_mode=modes[1],
            old_blob=pair[0],
            new_blob=pair[1],
            size=sizes.get(pair[1], 0),
        )
        for path, modes, pair in entries
    ]
    paths = tuple(path.decode(errors="replace") for path, _, _ in entries[:MOST_PATHS])
    return paths, await to_thread.run_sync(partial(flags_of, files, contents))


def _entries(listing: bytes) -> Iterator[tuple[bytes, tuple[int, int], tuple[str, str]]]:
    """Yield path, modes and blobs, the old first, out of `:OLD NEW BLOB BLOB STATUS NUL PATH NUL`."""
    parts: Sequence[bytes] = listing.split(b"\0")
    for about, path in zip(parts[0::2], parts[1::2], strict=False):
        old_mode, new_mode, old_blob, new_blob, _ = about.decode().removeprefix(":").split(" ")
        yield path, (int(old_mode, 8), int(new_mode, 8)), (old_blob, new_blob)


def _small(sizes: Mapping[str, int]) -> Iterator[str]:
    left = _MOST_READ_BYTES
    for blob, size in sizes.items():
        if size <= min(left, LARGEST_READ_BYTES):
            left -= size
            yield blob
