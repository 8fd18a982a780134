"""Reads the manifests and lock files of a commit out of a mirror, once: a commit never changes."""

from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from pydantic import TypeAdapter, ValidationError

from cloister.git import run_git
from cloister.model.project import LARGEST_MANIFEST_BYTES, LOCK_FILES, ProjectFile, ProjectFiles, is_project_file
from cloister.model.sandbox import Commit

MOST_FILES = 1000
"""Of more, the first by path count: no project of people has so many."""
KEPT_AS = "cloister-project-1"
"""Name of the folder in the mirror that keeps what was read; the number changes with what is read."""
_KEPT = TypeAdapter(dict[str, ProjectFile])
_Entry = tuple[str, str, int]
"""Path, blob and size in bytes."""


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
    listing = await run_git(["ls-tree", "-r", "-l", "-z", "--full-tree", commit], git_dir=mirror)
    entries = [entry for line in listing.stdout.split(b"\0") if (entry := _entry(line))][:MOST_FILES]
    wanted = [blob for path, blob, size in entries if _is_read(path, size)]
    texts = await _read_blobs(mirror, wanted)
    return ProjectFiles({path: ProjectFile(blob, texts.get(blob, "")) for path, blob, _ in entries})


def _entry(line: bytes) -> _Entry | None:
    """Parse one line of ls-tree; None when it is no regular file of a project."""
    meta, _, name = line.partition(b"\t")
    if not meta.startswith(b"100"):
        return None
    try:
        path = name.decode()
    except UnicodeDecodeError:
        return None
    if not is_project_file(path):
        return None
    _, _, blob, size = meta.decode().split()
    return path, blob, int(size)


def _is_read(path: str, size: int) -> bool:
    return path.rpartition("/")[2] not in LOCK_FILES and size <= LARGEST_MANIFEST_BYTES


async def _read_blobs(mirror: Path, blobs: list[str]) -> dict[str, str]:
    """Return the text of each blob. The answer of `cat-file --batch` is a line with the size, the bytes, a newline."""
    if not blobs:
        return {}
    names = "".join(f"{blob}\n" for blob in dict.fromkeys(blobs))
    rest = (await run_git(["cat-file", "--batch"], git_dir=mirror, stdin=names.encode())).stdout
    texts = {}
    while rest:
        head, _, rest = rest.partition(b"\n")
        blob, _, size = head.decode().split(" ")
        texts[blob] = rest[: int(size)].decode(errors="replace")
        rest = rest[int(size) + 1 :]
    return texts


def _keep(place: Path, files: ProjectFiles) -> None:
    """Write it whole, or not at all: it is a cache."""
    draft = place.with_suffix(f".{token_hex(4)}")  # others may write the same now
    with suppress(OSError):
        place.parent.mkdir(exist_ok=True)
        draft.write_bytes(_KEPT.dump_json(dict(files.files)))
        draft.rename(place)
