"""Brings the large objects of some commits into the mirror, from where the repository is."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from cloister.errors import CloisterError, RepositoryError
from cloister.forges.large_files import ObjectStore, read_large_files
from cloister.forges.large_prune import SHARE, prune_objects
from cloister.forges.large_server import LargeServer
from cloister.forges.mirror import FETCH_SECONDS
from cloister.git import run_git
from cloister.model.large_file import LargeFile, LargeFiles
from cloister.model.quantity import size_to_text
from cloister.model.sandbox import Commit

LARGEST_BYTES = 5 * 1024**3
"""Of all objects of a commit, where the settings say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the objects of a repository are: on its server, in a repository on this machine, or nowhere."""

    server: LargeServer | None = None
    path: Path | None = None
    nowhere: str = ""
    """Why, in a few words."""


async def fetch_large_files(
    mirror: Path, commits: Sequence[Commit], source: Source, *, most_bytes: int = LARGEST_BYTES
) -> LargeFiles:
    """Fetch what is not here yet, and say what there is. What cannot be had is left, and said why.

    Objects of a commit with more than `most_bytes` are left. What comes is kept only if it is what its digest says.
    """
    files = [file for commit in dict.fromkeys(commits) for file in await read_large_files(mirror, commit)]
    objects = {file.digest: file for file in files}
    if not objects:
        return LargeFiles()
    store, size = ObjectStore(mirror), sum(file.size for file in objects.values())
    missing = [file for file in objects.values() if not store.use(file)]
    reason = ""
    if missing and size > most_bytes:
        reason = f"they have {size_to_text(size)}, and the settings take {size_to_text(most_bytes)} (large_files)"
    elif missing:
        reason = await _fetch(missing, source, store)
        await anyio.to_thread.run_sync(partial(prune_objects, mirror, most_bytes=SHARE * most_bytes))
    left = {file.path for file in files if not store.has(file)}
    return LargeFiles(files=len({file.path for file in files}), size=size, left=len(left), reason=reason)


async def _fetch(missing: Sequence[LargeFile], source: Source, store: ObjectStore) -> str:
    try:
        with anyio.fail_after(FETCH_SECONDS):
            if source.server is not None:
                await source.server.download(missing, store)
                return ""
            if source.path is None:
                return source.nowhere
            folder = await _git_folder(source.path)
            absent = [file for file in missing if not await store.take_from(folder, file)]
            return f"{source.path} does not have them: git lfs fetch --all" if absent else ""
    except TimeoutError:
        return f"they did not come within {FETCH_SECONDS / 60:.0f} minutes"
    except CloisterError as error:
        return str(error)


async def _git_folder(path: Path) -> Path:
    """Return the folder that a repository on this machine, and every work tree of it, keeps its objects in."""
    git_dir = path / ".git" if (path / ".git").exists() else path
    asked = ["rev-parse", "--path-format=absolute", "--git-common-dir"]
    said = (await run_git(asked, git_dir=git_dir)).stdout.decode(errors="surrogateescape").strip()
    if not said.startswith("/"):
        raise RepositoryError(f"{path} does not say where its objects are")
    return Path(said)
