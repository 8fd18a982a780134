"""Phase 4: the change is taken out of the sandbox, with the agent's answer."""

from dataclasses import dataclass

from cloister.journal import Journal
from cloister.model.artifact import Artifact
from cloister.model.container import MESSAGE_FILE
from cloister.model.event import DiffCollected
from cloister.model.review import REVIEW_FILE, Review
from cloister.model.sandbox import Change
from cloister.model.task import Attempt, artifacts_owner
from cloister.phases.artifacts import keep_artifacts
from cloister.protocols import FileStore, Sandbox
from cloister.review_file import LARGEST_REVIEW_BYTES, masked, read_review

LONGEST_MESSAGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What the attempt left."""

    change: Change
    artifacts: tuple[Artifact, ...]
    message: str
    """What the agent wrote to its message file, masked; without one, the last it said."""


async def run(attempt: Attempt, sandbox: Sandbox, journal: Journal, files: FileStore, *, said: str) -> Collected:
    """Collect the change, the artifacts and the message, which is `said` when there is no file of it.

    No container may run.
    """
    change = await sandbox.changes(attempt.task.revision.commit)
    stats = change.stats
    flags = tuple(journal.mask_text(str(flag)) for flag in change.flags)
    journal.record(DiffCollected(files=stats.files, added=stats.added, removed=stats.removed, flags=flags))
    written = await sandbox.read_file(MESSAGE_FILE, limit_bytes=LONGEST_MESSAGE_BYTES)
    message = said if written is None else journal.mask_text(written.decode(errors="replace"))
    artifacts = await keep_artifacts(artifacts_owner(attempt.id), sandbox, journal, files)
    return Collected(change=change, message=message, artifacts=artifacts)


async def take_review(attempt: Attempt, sandbox: Sandbox, journal: Journal) -> Review:
    """Return what the agent of a review found, masked. TaskFailedError when that cannot be used."""
    assert attempt.task.review is not None
    raw = await sandbox.read_file(REVIEW_FILE, limit_bytes=LARGEST_REVIEW_BYTES)
    return masked(read_review(raw, lowest=attempt.task.review.lowest), journal.mask_text)
