"""Shows a task while it runs: live on a terminal, as plain lines elsewhere, or as JSON."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from cloister.cli.json_lines import finished_to_json, to_json
from cloister.cli.narrator import Narrator, phase_to_text
from cloister.cli.terminal import neutralize, neutralize_line, print_line, print_lines
from cloister.event_line import event_to_line
from cloister.model.choice import choose
from cloister.model.event import EgressRefused, PhaseFinished, PhaseStarted, RecordedEvent, TaskFinished
from cloister.model.fairness import HeldBy, held_to_text
from cloister.model.sandbox import Change
from cloister.model.task import AttemptId, AttemptStatus, Outcome, TaskStatus
from cloister.narration import check_lines, finding_lines, stats_to_text, style_of

MOST_FLAGS_SHOWN = 10


class View(Protocol):
    """Where a task's course is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, recorded: RecordedEvent) -> None:
        """Show an event."""
        ...

    def say(self, sentence: str) -> None:
        """Tell the user something that is no event."""
        ...

    def wait(self, place: int | None, held_by: HeldBy | None = None) -> None:
        """It waits, at this place of the queue; None: it does not wait any more."""
        ...

    def tick(self) -> None:
        """Time has passed."""
        ...

    def finish(self, status: TaskStatus) -> None:
        """The task is over: show what it left."""
        ...


class PlainView:
    """Plain lines, for files, pipes and other programs."""

    def __init__(self, console: Console, labels: Mapping[AttemptId, str], *, raw: bool = False) -> None:
        self._console = console
        self._narrator = Narrator(labels, raw=raw)
        self._refused = False
        self._waits: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, recorded: RecordedEvent) -> None:
        """Print it."""
        self._refused = self._refused or isinstance(recorded.event, EgressRefused)
        print_lines(self._console, self._narrator.tell(recorded))

    def say(self, sentence: str) -> None:
        """Print it."""
        print_line(self._console, Text(sentence, style="yellow"))

    def wait(self, place: int | None, held_by: HeldBy | None = None) -> None:
        """Print it when it is news."""
        waits = None if place is None else place_to_text(place, held_by)
        if waits is not None and waits != self._waits:
            self.say(waits)
        self._waits = waits

    def tick(self) -> None:
        """Nothing moves here."""

    def finish(self, status: TaskStatus) -> None:
        """Print message, statistics, verdict, and what to do next."""
        print_lines(self._console, summary(status))
        if self._refused:
            text = f"  cloister egress propose {status.task.id}    what would let the refused requests pass"
            print_line(self._console, text)


class LiveView(PlainView):
    """Lines, and below them the running phases with their seconds."""

    def __init__(
        self,
        console: Console,
        labels: Mapping[AttemptId, str],
        now: Callable[[], datetime],
        *,
        raw: bool = False,
    ) -> None:
        super().__init__(console, labels, raw=raw)
        self._labels = labels
        self._now = now
        self._running: dict[AttemptId | None, tuple[str, datetime]] = {}
        self._spinner = Spinner("dots")
        # Refreshed by `tick`: Rich's own refreshing would need a thread.
        self._live = Live(console=console, auto_refresh=False, transient=True, get_renderable=self._status)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, recorded: RecordedEvent) -> None:
        """Print it, and keep the phase line right."""
        match recorded.event:
            case PhaseStarted() as event:
                self._running[recorded.attempt] = (phase_to_text(recorded.phase or "", event), recorded.at)
            case PhaseFinished():
                self._running.pop(recorded.attempt, None)
        super().show(recorded)
        self.tick()

    def wait(self, place: int | None, held_by: HeldBy | None = None) -> None:
        """Show it below the lines."""
        self._waits = None if place is None else place_to_text(place, held_by)
        self.tick()

    def tick(self) -> None:
        """Count the seconds on."""
        self._live.refresh()

    def _status(self) -> RenderableType:
        rows = []
        for attempt, (phase, since) in self._running.items():
            seconds = max(0.0, (self._now() - since).total_seconds())
            label = self._labels.get(attempt, "") if attempt else ""
            rows.append(Text(f"{label}{seconds:6.1f} s  {neutralize(phase)}", style="bold cyan", overflow="ellipsis"))
        if self._waits is not None and not rows:
            rows.append(Text(f"          {self._waits}", style="bold cyan"))
        self._spinner.update(text=Text("  ctrl-c cancels", style="dim"))
        return Group(*rows, self._spinner) if rows else Group()


class JsonView:
    """One event a line. `task_finished` waits for what the attempts left."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._finished: RecordedEvent | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, recorded: RecordedEvent) -> None:
        """Print it as an object."""
        if self._finished is not None:  # somebody followed up on it
            self._write(to_json(event_to_line(self._finished)))
            self._finished = None
        if isinstance(recorded.event, TaskFinished):
            self._finished = recorded
        else:
            self._write(to_json(event_to_line(recorded)))

    def say(self, sentence: str) -> None:
        """Programs follow the events."""

    def wait(self, place: int | None, held_by: HeldBy | None = None) -> None:
        """Programs ask for it."""

    def tick(self) -> None:
        """Nothing moves here."""

    def finish(self, status: TaskStatus) -> None:
        """Print `task_finished`, the last line."""
        if self._finished is not None:
            self._write(to_json(finished_to_json(self._finished, status)))


def state_to_text(status: TaskStatus) -> str:
    """Say where a task is, and while it waits, at which place, and what limit holds it back."""
    place, held_by = status.queue_position, status.held_by
    held = "" if held_by is None else f" ({held_by} limit)"
    return status.verdict or (status.state if place is None else f"{status.state}, place {place}{held}")


def place_to_text(place: int, held_by: HeldBy | None = None) -> str:
    """Say at which place of the queue something waits, and what limit holds it back there."""
    return f"waiting: place {place} in the queue" + ("" if held_by is None else f"; {held_to_text(held_by)}")


def labels_of(status: TaskStatus) -> dict[AttemptId, str]:
    """Return what to put before the lines of each attempt; nothing when there is one only."""
    if len(status.attempts) == 1:
        return {}
    return {attempt.attempt: f"[{attempt.number}] " for attempt in status.attempts}


def summary(status: TaskStatus) -> list[Text]:
    """Say how a task ended, what its attempts left, and what to do next."""
    lines = [line for attempt in status.attempts for line in _attempt_lines(attempt, several=len(status.attempts) > 1)]
    return [*lines, *verdict_lines(status)]


def verdict_lines(status: TaskStatus) -> list[Text]:
    """Say how a task ended, and what to do next."""
    if status.verdict is None:
        return [Text(f"task {status.task.id} is {state_to_text(status)}")]
    seconds = (status.finished_at - status.last_turn.accepted_at).total_seconds() if status.finished_at else 0.0
    choice = choose(status.attempts)
    best, turn = choice.attempt.outcome, status.last_turn.number
    reason = _reason(best) if len(status.attempts) == 1 else ""
    of_task = f"task {status.task.id}" + (f", turn {turn}," if turn > 1 else "")
    lines = [Text(f"{of_task} {status.verdict} in {seconds:.1f} s{reason}", style=style_of(status.verdict))]
    if choice.reason:
        lines.append(Text(f"  attempt {choice.attempt.number} is the best: {choice.reason}"))
    if best is not None and best.hint:
        lines.append(Text(f"  {neutralize(best.hint)}"))
    if best is not None and best.change is not None and best.change.diff:
        lines.append(Text(f"  cloister diff {status.task.id}     shows the change"))
        lines.append(Text(f"  cloister apply {status.task.id}    puts it into your work tree"))
    return lines


def _attempt_lines(attempt: AttemptStatus, *, several: bool) -> list[Text]:
    outcome = attempt.outcome
    if outcome is None:
        return []
    lines = [Text(line) for line in neutralize(outcome.message).rstrip().splitlines()]
    if outcome.review is not None:
        lines += [Text(neutralize_line(line), style=style) for line, style in finding_lines(outcome.review)]
    elif outcome.change is not None:
        stats = outcome.change.stats
        lines.append(Text(stats_to_text(stats.files, stats.added, stats.removed)))
        lines += flag_lines(outcome.change)
    lines += [
        Text(neutralize_line(line), style=style) for result in outcome.checks for line, style in check_lines(result)
    ]
    if several:
        ended = f"attempt {attempt.number}: {outcome.verdict}{_reason(outcome)}"
        lines.insert(0, Text(ended, style=style_of(outcome.verdict)))
    return lines


def flag_lines(change: Change) -> list[Text]:
    """Say what of a change deserves a second look."""
    shown = change.flags[:MOST_FLAGS_SHOWN]
    lines = [Text(f"  look at: {neutralize_line(str(flag))}", style="yellow") for flag in shown]
    more = len(change.flags) - len(shown)
    return [*lines, *([Text(f"  and at {more} more: --json lists them", style="yellow")] if more else [])]


def _reason(outcome: Outcome | None) -> str:
    if outcome is None or outcome.reason in ("", outcome.verdict):
        return ""
    return ": " + neutralize(outcome.reason).partition("\n")[0]
