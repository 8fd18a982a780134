"""What `env check` found out, gathered from a task's events and its message."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cloister.model.event import (
    PhaseFinished,
    PhaseStarted,
    RecordedEvent,
    SetupStepFinished,
    SetupStepStarted,
    SnapshotHit,
    SnapshotMissed,
    SnapshotSaved,
)
from cloister.model.setup_plan import place_to_text
from cloister.model.task import TaskStatus

_VERSIONS = "versions"
_PACKAGES = "packages"
_DIGITS = 12
_NOT_TOLD = "-"
RUNNING = "running"
"""In place of the seconds of what has not ended."""


@dataclass(slots=True, kw_only=True)
class PhaseReport:
    """A phase of the check."""

    phase: str
    network: str
    secrets: Sequence[str]
    brokered: Sequence[str]
    seconds: float | None = None
    """None while it runs."""


@dataclass(slots=True)
class CheckReport:
    """Filled event by event, and with `finish`."""

    phases: list[PhaseReport] = field(default_factory=list)
    steps: dict[tuple[str, str, str, str], SetupStepFinished] = field(default_factory=dict)
    """By command, tool, folder and deciding file: an attempt that is done again tells them again."""
    running: SetupStepStarted | None = None
    """The step that has begun, and has not ended."""
    key: str | None = None
    """Of the snapshot."""
    missed: str | None = None
    """Why no snapshot fitted; None when one did."""
    saved: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    packages: list[tuple[str, str]] = field(default_factory=list)
    is_over: bool = False

    def add(self, recorded: RecordedEvent) -> None:
        """Learn from an event."""
        match recorded.event:
            case PhaseStarted() as event:
                phase = str(recorded.phase)
                self.phases = [each for each in self.phases if each.phase != phase]  # one that was taken over
                told = PhaseReport(phase=phase, network=event.network, secrets=event.secrets, brokered=event.brokered)
                self.phases.append(told)
                self.running = None
            case PhaseFinished() as event:
                for each in self.phases:
                    if each.phase == recorded.phase:
                        each.seconds = event.seconds
                self.running = None
            case SetupStepStarted() as event:
                self.running = event
            case SetupStepFinished() as event:
                self.running = None
                self.steps[event.command, event.tool, event.folder, event.reason] = event
            case SnapshotHit(key=key):
                self.key, self.missed = key, None
            case SnapshotMissed(key=key, reason=reason):
                self.key, self.missed = key, reason
            case SnapshotSaved():
                self.saved = True

    def finish(self, status: TaskStatus) -> None:
        """Read what the agent `check` found; nothing runs any more."""
        self.is_over, self.running = True, None
        outcome = status.attempts[0].outcome
        for section, name, told in _entries(outcome.message if outcome else ""):
            if section == _VERSIONS:
                self.versions[name] = told
            else:
                self.packages.append((name, told))

    def step_rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield the table of steps: step, seconds, network, secrets."""
        for each in self.phases:
            secrets = ", ".join([*each.secrets, *(f"{name} (brokered)" for name in each.brokered)]) or "none"
            is_running = each.seconds is None and each is self.phases[-1] and not self.is_over
            seconds = RUNNING if is_running else _seconds(each.seconds)
            yield each.phase, seconds, each.network, secrets
            if each.phase == "setup":
                for step in self.steps.values():
                    place = place_to_text(step.tool, step.folder, step.reason)
                    yield f"  {place}{'' if step.ok else ': failed'}", _seconds(step.seconds), "", ""
                if (begun := self.running) is not None:
                    yield f"  {place_to_text(begun.tool, begun.folder, begun.reason)}", RUNNING, "", ""

    def snapshot_line(self) -> str:
        """Say whether a kept disk was found, and why not."""
        if self.key is None:
            return "snapshot: not looked for"
        if self.missed is None:
            return f"snapshot {self.key[:_DIGITS]}: hit, so setup's work was there already"
        kept = "; kept for the next task" if self.saved else ""
        return f"snapshot {self.key[:_DIGITS]}: none fitted ({self.missed}){kept}"

    def fields(self, status: TaskStatus) -> dict[str, object]:
        """Return all of it as one object for programs."""
        outcome = status.attempts[0].outcome
        return {
            "event": "environment_checked",
            "task": status.task.id,
            "environment": status.task.environment.name,
            "image": status.task.environment.image,
            "commit": status.task.revision.commit,
            "verdict": status.verdict,
            "reason": outcome.reason if outcome else "",
            "hint": outcome.hint if outcome else "",
            "phases": [
                {
                    "phase": each.phase,
                    "seconds": each.seconds,
                    "network": each.network,
                    "secrets": list(each.secrets),
                    "brokered": list(each.brokered),
                }
                for each in self.phases
            ],
            "steps": [
                {
                    "command": step.command,
                    "tool": step.tool,
                    "folder": step.folder,
                    "reason": step.reason,
                    "seconds": step.seconds,
                    "ok": step.ok,
                }
                for step in self.steps.values()
            ],
            "snapshot": {
                "key": self.key,
                "hit": self.key is not None and self.missed is None,
                "reason": self.missed,
                "saved": self.saved,
            },
            "versions": self.versions,
            "packages": [{"of": name, "found": told} for name, told in self.packages],
        }


def _entries(message: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, name and what is told of it; what is no line of the agent `check` is passed over."""
    section = ""
    for line in message.splitlines():
        if line in (_VERSIONS, _PACKAGES):
            section = line
        elif section and line.startswith("  "):
            name, _, told = line.strip().partition(" ")
            yield section, name, told


def _seconds(seconds: float | None) -> str:
    return f"{seconds:.1f}" if seconds is not None else _NOT_TOLD
