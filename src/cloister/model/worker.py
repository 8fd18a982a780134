"""Who carries out attempts."""

from dataclasses import dataclass

from cloister.model.task import AttemptId


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A process that may carry out attempts. Every command that works inside itself is one for as long as it runs."""

    name: str
    attempts: tuple[AttemptId, ...]
    """Those that it carries out now."""
