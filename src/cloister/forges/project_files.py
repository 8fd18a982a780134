"""Reads the manifests and lock files of a commit out of a mirror, once: a commit never changes."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from secrets import token_hex

from pydantic import TypeAdapter, ValidationError

from cloister.git import read_blobs, read_sizes, run_git
from cloister.model.project import (
    LARGEST_MANIFEST_BYTES,
    LOCK_FILES,
    MANIFESTS,
    ProjectFile,
    ProjectFiles,
    is_project_file,
)
from cloister.model.sandbox import Commit

MOST_FILES = 1000
"""Of more, the first by path count: no project of people has so many."""
KEPT_AS = "cloister-project-1"
"""Name of the folder in the mirror that keeps what was read; the number changes with what is read."""
_KEPT = TypeAdapter(dict[str, ProjectFile])
_NAMES = frozenset(name.encode() for name in LOCK_FILES | MANIFESTS)


def kept_project_files(mirror: Path, commit: Commit) -> ProjectFiles | None:
    """Return what was read of that commit before; None when nothing was, or it is damaged."""
    with suppress(OSError, ValidationError):
        return ProjectFiles(_KEPT.validate_json(_place(mirror, commit).read_bytes()))
    return None


async def read_project_files(mirror: Path, commit: Commit) -> ProjectFiles:
    """Read the project files of a commit, and keep them. RepositoryError when the commit is not in the mirror."""
    files = await _read(mirror, commit)
    _keep(_place(mirror, commit), files)
    return files


def _place(mirror: Path, commit: Commit) -> Path:
    return mirror / KEPT_AS / f"{commit}.json"


async def _read(mirror: Path, commit: Commit) -> ProjectFiles:
    listing = await run_git(["ls-tree", "-r", "-z", "--full-tree", commit], git_dir=mirror)
    blobs = dict(islice(_entries(listing.stdout), MOST_FILES))
    manifests = {blob for path, blob in blobs.items() if path.rpartition("/")[2] not in LOCK_FILES}
    texts = await _read_texts(mirror, manifests)
    return ProjectFiles({path: ProjectFile(blob, texts.get(blob, "")) for path, blob in blobs.items()})


def _entries(listing: bytes) -> Iterator[tuple[str, str]]:
    """Yield path and blob of the regular files that are a project's, out of those of the whole tree."""
    for line in listing.split(b"\0"):
        name = line[max(line.rfind(b"/"), line.rfind(b"\t")) + 1 :]
        if name in _NAMES or name.endswith(b".txt"):  # of 100,000, few are worth a closer look
            with suppress(UnicodeDecodeError):
                meta, _, path = line.decode().partition("\t")
                mode, _, blob = meta.split()
                if mode.startswith("100") and is_project_file(path):
                    yield path, blob


async def _read_texts(mirror: Path, blobs: Collection[str]) -> dict[str, str]:
    """Return the text of each blob that is not too large."""
    sizes = await read_sizes(blobs, git_dir=mirror)
    small = [blob for blob, size in sizes.items() if size <= LARGEST_MANIFEST_BYTES]
    contents = await read_blobs(small, git_dir=mirror)
    return {blob: content.decode(errors="replace") for blob, content in contents.items()}


def _keep(place: Path, files: ProjectFiles) -> None:
    """Write it whole, or not at all: it is a cache."""
    draft = place.with_suffix(f".{token_hex(4)}")  # others may write the same now
    with suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        draft.write_bytes(_KEPT.dump_json(dict(files.files)))
        draft.rename(place)
