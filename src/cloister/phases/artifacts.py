"""Takes out the files that the agent left beside its change."""

from hashlib import sha256

from cloister.errors import CloisterError
from cloister.journal import Journal
from cloister.model.artifact import (
    ARTIFACTS,
    LARGEST_ARTIFACT_BYTES,
    LARGEST_TOGETHER_BYTES,
    MOST_ARTIFACTS,
    Artifact,
    FoundFile,
)
from cloister.model.event import ArtifactsKept
from cloister.model.given import safe_paths
from cloister.model.quantity import size_to_text
from cloister.protocols import FileStore, Sandbox

_MOST_TOLD = 20


async def keep_artifacts(owner: str, sandbox: Sandbox, journal: Journal, files: FileStore) -> tuple[Artifact, ...]:
    """Keep them, masked, each under its number from 1, and say which were left out. None of them costs the change."""
    found = await sandbox.list_files(ARTIFACTS, most=10 * MOST_ARTIFACTS)
    if not found:
        return ()
    names = safe_paths([file.path for file in found])
    data: dict[str, bytes] = {}
    left_out: list[str] = []
    for file, name in zip(found, names, strict=True):
        reason = _why_not(file, data)
        content = None if reason else await _read(sandbox, file)
        if content is None:
            left_out.append(f"{name}: {reason or 'it cannot be read'}")
        else:
            data[name] = journal.mask_bytes(content)
    try:
        await files.keep(owner, {str(number): content for number, content in enumerate(data.values(), 1)})
    except CloisterError as error:
        data, left_out = {}, [f"all of them: {error}"]
    journal.record(ArtifactsKept(names=tuple(data), left_out=tuple(left_out[:_MOST_TOLD]), left=len(left_out)))
    return tuple(
        Artifact(name=name, size_bytes=len(content), sha256=sha256(content).hexdigest())
        for name, content in data.items()
    )


def _why_not(file: FoundFile, kept: "dict[str, bytes]") -> str | None:
    if not file.is_regular:
        return "it is no regular file"
    if file.size_bytes > LARGEST_ARTIFACT_BYTES:
        return f"it has {size_to_text(file.size_bytes)}, more than {size_to_text(LARGEST_ARTIFACT_BYTES)}"
    if len(kept) >= MOST_ARTIFACTS:
        return f"there are more than {MOST_ARTIFACTS}"
    if sum(map(len, kept.values())) + file.size_bytes > LARGEST_TOGETHER_BYTES:
        return f"together they have more than {size_to_text(LARGEST_TOGETHER_BYTES)}"
    return None


async def _read(sandbox: Sandbox, file: FoundFile) -> bytes | None:
    return await sandbox.read_file(f"{ARTIFACTS}/{file.path}", limit_bytes=LARGEST_ARTIFACT_BYTES)
