"""Shows what became of a task on one page: asked, said, changed, checked, refused, flagged, found; and what next."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cloister.cli.live import verdict_lines
from cloister.cli.terminal import neutralize, print_lines
from cloister.model.check import CheckResult, ChecksState, state_of
from cloister.model.choice import choose
from cloister.model.diff import changed_paths
from cloister.model.environment_source import source_to_text
from cloister.model.event import (
    AgentEvent,
    ArtifactsKept,
    CatchingMissed,
    EgressRefused,
    Event,
    FinalDiskKept,
    FinalDiskMissed,
    InstructionsRestored,
    PersonEntered,
    PhaseStarted,
    RecordedEvent,
    RecordMissed,
    ResidueFound,
    SandboxProvisioned,
    SnapshotHit,
    SnapshotMissed,
)
from cloister.model.fairness import held_to_text
from cloister.model.phase import Phase
from cloister.model.task import AttemptStatus, Outcome, TaskState, TaskStatus, Turn
from cloister.narration import finding_lines, more_to_text, stats_to_text, style_of, usage_to_text

_LABEL = 11
_WIDE = 160
"""Characters of a text of somebody else that are shown at first."""
_FEW = 3
_ACTIONS = {
    "scrubbed": "it was taken out before anything else ran",
    "refused": "nothing else was started",
    "allowed": "it stayed there, as the environment says",
}

E = TypeVar("E", bound=Event)
Line = tuple[str, str, str]
"""Label, text and style. The text is made harmless where it is printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One attempt, as it is shown."""

    status: TaskStatus
    attempt: AttemptStatus
    told: Sequence[RecordedEvent]
    """The attempt's log, output left out."""
    details: bool = False
    """Everything there is, instead of what fits."""

    def heading(self) -> list[Text]:
        """Return what stands above: how the task ended."""
        ended = verdict_lines(self.status)[0]
        turn = self._turn
        of_turn = f", turn {turn.number} of {len(self.status.turns)}" if len(self.status.turns) > 1 else ""
        if len(turn.attempts) == 1 and not of_turn:
            return [ended]
        choice = choose(turn.attempts)
        why = f" (the best: {choice.reason})" if choice.reason and choice.attempt is self.attempt else ""
        which = f"attempt {self.attempt.number} of {len(turn.attempts)}{of_turn}{why}:"
        return [ended, Text(which, style="bold")]

    def lines(self) -> Iterator[Line]:
        """Yield the page below its heading."""
        for part in self._parts():
            yield from part()

    def _parts(self) -> Sequence[Callable[[], Iterator[Line]]]:
        asked = (self._asked, self._begun) if self.details else (self._asked,)
        if self.attempt.outcome is None:
            return (*asked, self._held_back, self._refused, self._others, self._next)
        found = (self._refused, self._flagged, self._restored, self._secrets)
        held = (self._held,) if self.details else ()
        ends = (self._kept, *held, self._others, self._next)
        return (
            *asked,
            self._said,
            self._reviewed,
            self._evidence,
            self._changed,
            self._proposed,
            self._checked,
            self._used,
            *found,
            *ends,
        )

    def _asked(self) -> Iterator[Line]:
        task = self.status.task
        yield from self._text("asked", self._turn.prompt)
        source = source_to_text(task.environment_source) if task.environment_source else ""
        named = f", environment {task.environment.name}" if task.environment.name != task.repository.address else ""
        version = f" ({source})" if source else ""
        commit = f"{task.revision.ref} ({task.revision.commit[:12]})"
        yield "", f"{commit} of {task.repository.address}{named}{version}", "dim"
        if self._turn.files:
            yield from self._list("", "given ", [file.name for file in self._turn.files], "dim")
        agent = f"{task.agent}: {task.command}" if task.command else task.agent
        agent = f"{agent} (asked for an answer: the work tree is read-only)" if task.ask else agent
        for _, text, _ in self._text("", f"by {agent}"):
            yield "", text, "dim"

    def _held_back(self) -> Iterator[Line]:
        if (limit := self.attempt.held_by) is not None:
            yield "held back", held_to_text(limit), "yellow"

    def _begun(self) -> Iterator[Line]:
        for event in self._of(SandboxProvisioned, SnapshotHit, SnapshotMissed):
            match event:
                case SandboxProvisioned():
                    yield "image", f"{event.image} ({event.image_digest[:12]}), {event.runtime}", ""
                case SnapshotHit():
                    yield "snapshot", f"{event.key[:12]}: hit", ""
                case SnapshotMissed():
                    yield "snapshot", f"{event.key[:12]}: none fits ({event.reason})", ""
        limits = self.status.task.environment.limits
        yield "limits", f"{limits.cpu:g} cores, {limits.memory_bytes >> 20} MiB, {limits.time_seconds:g} s", ""

    def _said(self) -> Iterator[Line]:
        outcome = self._outcome
        is_above = self._is_last and len(self.status.attempts) == 1 and "\n" not in outcome.reason
        if outcome.reason not in ("", outcome.verdict) and not is_above:
            yield from self._text("ended", outcome.reason, style_of(outcome.verdict))
        yield from self._text("says", outcome.message.strip() or "nothing")

    def _reviewed(self) -> Iterator[Line]:
        """What a review found; without details, a line each."""
        review = self._outcome.review
        if review is None:
            return
        short = [(f"{it.priority} {it.place}  {it.title}", "yellow") for it in review.findings]
        lines = finding_lines(review) if self.details or not short else short
        yield from (("" if number else "found", line, style) for number, (line, style) in enumerate(lines))

    def _evidence(self) -> Iterator[Line]:
        """What the answer can be checked by."""
        task = self.status.task.id
        commands = {event.number for event in self._of(AgentEvent) if event.number is not None}
        if commands:
            address = f"cloister task command {task}/{self.attempt.number}/commands/1"
            yield "commands", f"{len(commands)}: {address}", ""
        artifacts = self._outcome.artifacts
        if artifacts:
            yield from self._list("artifacts", "", [artifact.name for artifact in artifacts])
        for event in self._of(ArtifactsKept)[-1:]:
            if event.left:
                yield "", f"{event.left} left out: {event.left_out[0]}", "yellow"
        people = len(self._of(PersonEntered))
        if people:
            yield "people", f"{people} shell{'s' if people > 1 else ''} opened beside the agent", "yellow"

    def _changed(self) -> Iterator[Line]:
        change = self._outcome.change
        if change is None:
            yield "changed", "no change could be collected", "yellow"
            return
        stats, paths = change.stats, changed_paths(change.diff)
        count = stats_to_text(stats.files, stats.added, stats.removed)
        yield from self._list("changed", f"{count}: " if paths else count, paths)

    def _proposed(self) -> Iterator[Line]:
        if (pull := self.status.pull_request) is not None:
            yield "proposed", f"pull request {pull.number} into {pull.base}: {pull.address}", "green"

    def _checked(self) -> Iterator[Line]:
        checks, declared = self._outcome.checks, self.status.task.environment.checks
        state = state_of(checks)
        if self.status.task.ask:
            yield "checked", "nothing: an answer was asked for, and no change", ""
            return
        if state is ChecksState.NOT_RUN:
            yield ("checked", "not run", "yellow") if declared else ("checked", "nothing: no checks are declared", "")
            return
        style = "green" if state is ChecksState.PASSED else "red"
        yield "checked", f"{'; '.join(map(_check_to_text, checks))}; in a clean room, on the change alone", style
        for it in checks:
            yield from (("", f"{it.name}: {note}", "yellow") for note in it.notes)
            if self.details and it.last_words:
                yield from (("", f"| {line}", "") for line in it.last_words.splitlines())

    def _used(self) -> Iterator[Line]:
        if (total := self._outcome.usage) is not None:
            yield "model", usage_to_text(total), ""

    def _refused(self) -> Iterator[Line]:
        events = self._of(EgressRefused)
        if self.details:
            requests = [_request_of(event) + (f"; {event.hint}" if event.hint else "") for event in events]
        else:
            requests = list(dict.fromkeys(_request_of(event) for event in events))
        count = f"{len(events)} request{'s' if len(events) > 1 else ''}: " if events else "nothing"
        yield from self._list("refused", count, requests, "red" if events else "")

    def _flagged(self) -> Iterator[Line]:
        change = self._outcome.change
        flags = [str(flag) for flag in change.flags] if change else []
        most = len(flags) if self.details else _FEW
        yield "look at", flags[0] if flags else "nothing in particular", "yellow" if flags else ""
        yield from (("", flag, "yellow") for flag in flags[1:most])
        if len(flags) > most:
            yield "", f"and {len(flags) - most} more: --details lists them", "yellow"

    def _restored(self) -> Iterator[Line]:
        for event in self._of(InstructionsRestored):
            if event.paths:
                yield from self._list(
                    "undone", "what setup did to ", [*event.paths, *more_to_text(event.more)], "yellow"
                )
            if event.left:
                yield from self._list(
                    "left", "", [f"{it}, which leads agents elsewhere" for it in event.left], "yellow"
                )
            if self.details:
                yield from (("", f"| {line}", "") for line in event.diff.splitlines())

    def _secrets(self) -> Iterator[Line]:
        present = sorted({name for event in self._of(PhaseStarted) for name in event.secrets})
        brokered = sorted({name for event in self._of(PhaseStarted) for name in event.brokered})
        found = self._of(ResidueFound)
        words = [f"{', '.join(present)} in setup alone"] if present else []
        words += [f"{', '.join(brokered)} in the proxy alone"] if brokered else []
        if words:
            searched = any(recorded.phase is Phase.AGENT for recorded in self.told)  # no agent starts before
            left = "; none was found on the disk" if present and searched and not found else ""
            yield "secrets", f"{'; '.join(words)}{left}", ""
        for event in found:
            details = [*event.details, *more_to_text(event.more)]
            yield from self._list("found", "on the disk after setup: ", details, "red")
            yield "", _ACTIONS.get(event.action, event.action), "red"

    def _held(self) -> Iterator[Line]:
        missing = [key for event in self._of(SandboxProvisioned)[:1] for key in event.not_enforced]
        missing += ["catching of programs that ignore the proxy"] if self._of(CatchingMissed) else []
        yield "not held", f"{', '.join(missing)}: this host cannot" if missing else "nothing: every limit held", ""
        seconds = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in self._outcome.seconds.items())
        yield "took", seconds, ""
        missed = self._of(RecordMissed)
        number = f" --attempt {self.attempt.number}" if len(self._turn.attempts) > 1 else ""
        number = f"{self._option_of_turn}{number}"
        record = f"signed: cloister record show {self.status.task.id}{number}"
        yield "record", f"none: {missed[0].reason}" if missed else record, ""

    def _kept(self) -> Iterator[Line]:
        for missed in self._of(FinalDiskMissed):
            yield "started", f"without the former disk: {missed.reason}; its change was applied after setup", "yellow"
        for kept in self._of(FinalDiskKept)[-1:]:
            until = datetime.fromisoformat(kept.expires_at).astimezone()
            yield "disk", f"for follow-ups until {until:%Y-%m-%d %H:%M}, unless its room is needed before", ""

    def _others(self) -> Iterator[Line]:
        show, of_turn = f"cloister task show {self.status.task.id}", self._option_of_turn
        for other in self._turn.attempts:
            if other.attempt != self.attempt.attempt:
                ended = _ended(other.outcome) if other.outcome else str(other.state)
                yield "attempt", f"{other.number} {ended}: {show}{of_turn} --attempt {other.number}", ""
        for turn in self.status.turns:
            if turn.number != self._turn.number:
                yield from self._text("turn", f"{turn.number} {turn.prompt}")
                yield "", f"{show} --turn {turn.number}", "dim"

    def _next(self) -> Iterator[Line]:
        steps = list(self._steps())
        wide = max((len(command) for command, why in steps if why), default=0)
        for number, (command, why) in enumerate(steps):
            yield "" if number else "next", f"{command:<{wide}}   {why}" if why else command, "bold"

    def _steps(self) -> Iterator[tuple[str, str]]:
        """What to type, and what for."""
        task, outcome = self.status.task.id, self.attempt.outcome
        is_best = self.attempt is choose(self._turn.attempts).attempt
        number = self._option_of_turn + ("" if is_best else f" --attempt {self.attempt.number}")
        if outcome is None:
            yield f"cloister task logs {task} --follow", "shows what it does"
            return
        if outcome.hint:
            yield outcome.hint, ""
        if self.status.task.review is not None and outcome.review is not None:
            yield f"cloister review {task} --post", "posts it at the pull request"
        if outcome.change is not None and outcome.change.diff:
            yield f"cloister diff {task}{number}", "shows the change"
            yield f"cloister apply {task}{number}", "puts it into your work tree"
        else:
            yield f"cloister task logs {task}", "shows what happened"
        if (
            self._turn is self.status.last_turn
            and self.status.state is TaskState.FINISHED
            and outcome.change is not None
        ):
            of = "" if is_best else f" --attempt {self.attempt.number}"
            yield f'cloister task follow-up {task}{of} "..."', "goes on from here"
        if self._of(EgressRefused):
            yield f"cloister egress propose {task}", "what would let the refused requests pass"

    @property
    def _turn(self) -> Turn:
        """The one that the attempt answers."""
        turns = (turn for turn in self.status.turns if self.attempt in turn.attempts)
        return next(turns, self.status.last_turn)

    @property
    def _is_last(self) -> bool:
        return self._turn.number == self.status.last_turn.number

    @property
    def _option_of_turn(self) -> str:
        return "" if self._is_last else f" --turn {self._turn.number}"

    @property
    def _outcome(self) -> Outcome:
        assert self.attempt.outcome is not None
        return self.attempt.outcome

    def _of(self, *kinds: type[E]) -> list[E]:
        return [recorded.event for recorded in self.told if isinstance(recorded.event, kinds)]

    def _text(self, label: str, text: str, style: str = "") -> Iterator[Line]:
        """A text of somebody else: its beginning, or all of its lines."""
        lines = text.splitlines() or [""]
        if not self.details:
            short = " ".join(text.split())
            lines = [short if len(short) <= _WIDE else f"{short[:_WIDE].rstrip()} ..."]
        for number, line in enumerate(lines):
            yield "" if number else label, line, style

    def _list(self, label: str, begin: str, items: Sequence[str], style: str = "") -> Iterator[Line]:
        """The first of them on one line, or all, one on each."""
        if self.details and len(items) > 1:
            yield label, begin.rstrip(), style
            yield from (("", f"  {item}", style) for item in items)
            return
        more = f", and {len(items) - _FEW} more" if len(items) > _FEW else ""
        yield label, f"{begin}{', '.join(items[:_FEW])}{more}", style


def _check_to_text(result: CheckResult) -> str:
    if not result.ok:
        return f"{result.name} failed ({result.reason})"
    return f"{result.name} passed{' at the second try' if result.flaky else ''}"


def _request_of(event: EgressRefused) -> str:
    by = f", by {event.command.split()[0]}" if event.command and event.command.split() else ""
    return f"{event.method} {event.host}:{event.port}{event.path} ({event.rule}{by})"


def _ended(outcome: Outcome) -> str:
    reason = outcome.reason.partition("\n")[0]
    return f"{outcome.verdict} ({reason})" if reason not in ("", outcome.verdict) else str(outcome.verdict)


def print_page(console: Console, page: Page) -> None:
    """Print it; on a terminal long texts go on below where they began, so that none can look like a line of ours."""
    print_lines(console, page.heading())
    rows = [(label, Text(neutralize(text).replace("\n", " "), style=style)) for label, text, style in page.lines()]
    if not console.is_terminal:
        print_lines(console, [Text(f"  {label:<{_LABEL}}{text.plain}".rstrip()) for label, text in rows])
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(width=_LABEL + 1, style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(f"  {label}", text)
    console.print(table)
