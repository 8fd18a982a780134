"""Phase 4: the change is taken out of the sandbox, with the agent's answer."""

from dataclasses import dataclass

from cloister.journal import Journal
from cloister.model.container import MESSAGE_FILE
from cloister.model.event import DiffCollected
from cloister.model.sandbox import Change
from cloister.model.task import Task
from cloister.protocols import Sandbox

LONGEST_MESSAGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What the attempt left."""

    change: Change
    message: str
    """What the agent wrote to its message file, masked; without one, the last it said."""


async def run(task: Task, sandbox: Sandbox, journal: Journal, *, said: str) -> Collected:
    """Collect the change and the message, which is `said` when there is no file of it. No container may run."""
    change = await sandbox.changes(task.revision.commit)
    stats = change.stats
    flags = tuple(journal.mask_text(str(flag)) for flag in change.flags)
    journal.record(DiffCollected(files=stats.files, added=stats.added, removed=stats.removed, flags=flags))
    written = await sandbox.read_file(MESSAGE_FILE, limit_bytes=LONGEST_MESSAGE_BYTES)
    message = said if written is None else journal.mask_text(written.decode(errors="replace"))
    return Collected(change=change, message=message)
