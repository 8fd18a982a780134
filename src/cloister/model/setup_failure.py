"""Says why a script of the setup phase failed, and what its user can do to see more."""

import shlex
from dataclasses import dataclass

from cloister.model.environment_source import SourceKind
from cloister.model.quantity import size_to_text
from cloister.model.sandbox import EndCause, Exit
from cloister.model.setup_plan import Section, place_to_text
from cloister.model.task import CHECK, Task

_MOST_NAMED = 8
_LONGEST_NAMED = 100
"""Processes that still ran, and characters of their command lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupFailure:
    """How a script ended that did not succeed. All texts are masked."""

    script: str
    """`setup` or `maintenance`."""
    ended: Exit
    section: Section | None
    """Where automatic setup was then."""
    running: tuple[str, ...]
    """Command lines of what still ran when its time was up."""
    last_words: str
    timeout_seconds: float

    def reason(self, task: Task) -> str:
        """Return it as a sentence, with what was still running and the script's last words."""
        running = f"; still running: {_list(_worth_naming(self.running))}" if _worth_naming(self.running) else ""
        said = f"it last said: {self.last_words}" if self.last_words else "it said nothing"
        return f"the {self.script} script {self._how(task)}{running}; {said}"

    def hint(self, task: Task) -> str:
        """Return the command that shows the same without an agent; of a check, the one that lets its user try."""
        if task.agent == CHECK:
            return f"try it by hand: {_command('shell --phase setup', task)}"
        return f"see it without an agent: {_command('check', task)}"

    def _how(self, task: Task) -> str:
        section = self.section
        place = f" in {place_to_text(section.tool, section.folder, section.reason)}" if section else ""
        match self.ended.cause:
            case EndCause.EXITED:
                return f"ended with status {self.ended.status}{place}"
            case EndCause.TIMED_OUT:
                return f"was stopped after {self.timeout_seconds:.0f} seconds{place}"
            case EndCause.OUTPUT_LIMIT:
                most = size_to_text(task.environment.limits.output_bytes)
                return f"was stopped{place} because it printed more than limits.output allows, {most}"
            case EndCause.DISK_FULL:
                most = size_to_text(task.environment.limits.disk_bytes)
                return f"failed{place} on a full disk: the sandbox wrote all that limits.disk allows, {most}"
            case EndCause.NO_INODES:
                most = f"{task.environment.limits.inodes}"
                return f"failed{place} on a full disk: the sandbox made as many files as limits.inodes allows, {most}"
            case cause:
                return f"ended with status {self.ended.status} ({cause}){place}"


def _command(words: str, task: Task) -> str:
    revision = task.revision
    ref = ["--ref", shlex.quote(revision.ref)] if revision.ref != revision.default_branch else []
    return " ".join(
        ["cloister env", words, *_environment_named(task), "--repo", shlex.quote(task.repository.address), *ref]
    )


def _environment_named(task: Task) -> list[str]:
    """Return it as the user chose it; nothing when the repository's own was read."""
    source = task.environment_source
    match source.kind if source else None:
        case SourceKind.STORED:
            return [shlex.quote(task.environment.name)]
        case SourceKind.FILE:
            return [shlex.quote(source.file)] if source and source.file else []
        case _:
            return []


def _worth_naming(running: tuple[str, ...]) -> list[str]:
    """Leave out the shell that runs the script itself, of which every sub-shell is a copy."""
    return [line for line in running if not line.startswith("/bin/bash -e -o pipefail /cloister/in/")]


def _list(lines: list[str]) -> str:
    shown = [_shorten("".join(c if c.isprintable() else "?" for c in line)) for line in lines[:_MOST_NAMED]]
    more = len(lines) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_NAMED else f"{text[:_LONGEST_NAMED]}..."
