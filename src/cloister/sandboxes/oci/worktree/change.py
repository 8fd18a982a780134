"""Takes a collected change into a repository of the host's, checked, and makes the diff of it."""

import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from cloister.errors import RepositoryError, SandboxError, TaskFailedError
from cloister.git import GitOutput, OutputLimitError, last_lines, run_git
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.sandboxes.oci.worktree.flags import look_through

LARGEST_PACK_BYTES = 1024**3
LARGEST_DIFF_BYTES = 64 * 1024**2
_COMPARING_BYTES = 2 * 1024**3
REFS = "refs/cloister/"
_SECONDS = 15 * 60.0
_DIFF = (
    *("--no-ext-diff", "--no-textconv", "--no-color", "--ignore-submodules=none", "--submodule=short"),
    *("-M", "-l1000", "--numstat", "--patch", "--binary", "--full-index"),
)


async def import_change(
    repository: Path, *, mirror: Path, base: Commit, commit: Commit, pack: Path, name: str
) -> Change:
    """Keep `commit` of `pack` in `repository` as refs/cloister/`name`, and return it with its diff against `base`.

    `repository` is bare, the host's own, and borrows from `mirror`; it is made when it does not exist. Nothing of
    the pack is seen in it unless git's strict checks (git-fsck(1)) pass and the commit has `base` as its only parent.
    No attribute of the repository has a say in the diff. Raises TaskFailedError when the change holds what git refuses
    or is too large, SandboxError when the pack is not what was asked for.
    """
    await _make(repository, mirror, base)
    if commit == base:
        return Change(
            base=base, commit=base, repository=repository, diff=b"", stats=DiffStats(files=0, added=0, removed=0)
        )
    with tempfile.TemporaryDirectory(prefix="incoming-", dir=repository / "objects") as quarantine:
        await _receive(repository, mirror, Path(quarantine), pack)
        await _check_parent(repository, mirror, Path(quarantine), base, commit)
        _admit(Path(quarantine), repository / "objects")
    await run_git(["update-ref", f"{REFS}{name}", commit], git_dir=repository)
    diff, stats = await _compare(repository, base, commit)
    paths, flags = await look_through(repository, base, commit)
    return Change(base=base, commit=commit, repository=repository, diff=diff, stats=stats, flags=flags, paths=paths)


async def _make(repository: Path, mirror: Path, base: Commit) -> None:
    draft = _new_draft(repository)
    if draft is None:
        return
    kind = "sha256" if len(base) == 64 else "sha1"
    await run_git(["init", "--quiet", "--bare", f"--object-format={kind}", str(draft)], git_dir=draft)
    (draft / "objects/info/alternates").write_text(f"{mirror}/objects\n")
    _rename_unless_there(draft, repository)


def _new_draft(repository: Path) -> Path | None:
    if repository.exists():
        return None
    repository.parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="making-", dir=repository.parent))


def _rename_unless_there(draft: Path, repository: Path) -> None:
    try:
        draft.rename(repository)
    except OSError:  # another attempt's was there first
        shutil.rmtree(draft)


async def _receive(repository: Path, mirror: Path, quarantine: Path, pack: Path) -> None:
    with _open_pack(pack) as file:
        # Standard input makes git trust nothing about the file but its bytes.
        output = await run_git(
            ["index-pack", "--strict", "--stdin", f"--max-input-size={LARGEST_PACK_BYTES}"],
            git_dir=repository,
            stdin=file,
            variables=_quarantined(repository, mirror, quarantine),
            accept=range(256),
            timeout_seconds=_SECONDS,
        )
    if output.status != 0:
        raise _pack_refusal(output)


def _pack_refusal(output: GitOutput) -> Exception:
    said = last_lines(output.stderr)
    if "exceeds maximum allowed size" in said:
        return TaskFailedError(f"the change is larger than {LARGEST_PACK_BYTES} bytes")
    if "fsck error" in said or "object of unexpected type" in said or "in packed object" in said:
        return TaskFailedError(f"the change holds what git refuses: {said}")
    return SandboxError(f"the collected pack cannot be read: {said}")


def _open_pack(pack: Path) -> BinaryIO:
    """Open what a container wrote, if it is a plain file."""
    try:
        descriptor = os.open(pack, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"{pack} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SandboxError(f"{pack} is not a file")
    return os.fdopen(descriptor, "rb")


async def _check_parent(repository: Path, mirror: Path, quarantine: Path, base: Commit, commit: Commit) -> None:
    output = await run_git(
        ["cat-file", "commit", commit],
        git_dir=repository,
        variables=_quarantined(repository, mirror, quarantine),
        accept=range(256),
    )
    header = output.stdout.partition(b"\n\n")[0].split(b"\n")
    parents = [line.partition(b" ")[2] for line in header if line.startswith(b"parent ")]
    if output.status != 0 or parents != [base.encode()]:
        raise SandboxError(f"the collected pack holds no commit {commit} above {base}")


def _quarantined(repository: Path, mirror: Path, quarantine: Path) -> dict[str, str]:
    return {
        "GIT_OBJECT_DIRECTORY": str(quarantine),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": f"{repository}/objects:{mirror}/objects",
    }


def _admit(quarantine: Path, objects: Path) -> None:
    """Move packs out of quarantine, each index last: with it, its pack is seen."""
    (objects / "pack").mkdir(exist_ok=True)
    for file in sorted((quarantine / "pack").iterdir(), key=lambda file: file.suffix == ".idx"):
        file.rename(objects / "pack" / file.name)
    with suppress(FileNotFoundError):
        (quarantine / "pack").rmdir()


async def _compare(repository: Path, base: Commit, commit: Commit) -> tuple[bytes, DiffStats]:
    try:
        output = await run_git(
            ["diff-tree", "-r", *_DIFF, base, commit],
            git_dir=repository,
            timeout_seconds=_SECONDS,
            limit_bytes=LARGEST_DIFF_BYTES,
            memory_bytes=_COMPARING_BYTES,
        )
    except OutputLimitError as error:
        raise TaskFailedError(f"the change's diff is larger than {LARGEST_DIFF_BYTES} bytes") from error
    except RepositoryError as error:
        if "Out of memory" not in str(error):
            raise
        raise TaskFailedError("the change is too large to be compared with what was there") from error
    numbers, _, diff = output.stdout.partition(b"\n\n")
    return diff, read_numstat(numbers)


def read_numstat(numbers: bytes) -> DiffStats:
    """Sum up what `git diff --numstat` prints (git-diff(1), "Other diff formats"); binary files have no lines.

    Names are quoted where they hold a newline, so that a line is a file.
    """
    added, removed = 0, 0
    lines = [line for line in numbers.split(b"\n") if line]
    for line in lines:
        plus, minus, _ = line.split(b"\t", 2)
        added += int(plus) if plus != b"-" else 0
        removed += int(minus) if minus != b"-" else 0
    return DiffStats(files=len(lines), added=added, removed=removed)
