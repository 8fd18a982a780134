"""Tells events as lines for people."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.text import Text

from cloister.cli.agent_lines import UsageTally, agent_lines, failed_call_line
from cloister.cli.terminal import LineBuffer, neutralize, neutralize_line
from cloister.model.check import CheckResult
from cloister.model.event import (
    AgentEvent,
    ArtifactsKept,
    AttemptFinished,
    AttemptStarted,
    CatchingMissed,
    CheckFinished,
    DiffCollected,
    EgressAllowed,
    EgressRefused,
    EndRequested,
    Event,
    FinalDiskMissed,
    FinalDiskResumed,
    InstructionsRestored,
    ModelCallFailed,
    Output,
    PersonEntered,
    PersonLeft,
    PhaseFinished,
    PhaseStarted,
    RecordedEvent,
    RecordMissed,
    ResidueFound,
    SecretDelivered,
    SecretRemoved,
    ServiceEnded,
    ServiceReady,
    ServiceStarted,
    SetupPlanned,
    SetupStepFinished,
    ShellClosed,
    ShellOpened,
    SnapshotAwaited,
    SnapshotHit,
    SnapshotMissed,
    SnapshotSaved,
    TaskAccepted,
    TimeRunningOut,
    TurnAccepted,
    Usage,
)
from cloister.model.setup_plan import place_to_text
from cloister.model.task import AttemptId, Verdict

_STYLES = {
    Verdict.SUCCEEDED: "green",
    Verdict.FAILED: "red",
    Verdict.ERRORED: "bold red",
    Verdict.CANCELLED: "yellow",
}
_FLOOD = 100
"""Lines that come at once; above, their colours are left out."""
_MOST_LINES = 20
"""Of what was undone."""
_KEY_SHOWN = 12
_SERVICE = "service:"


def style_of(verdict: Verdict) -> str:
    """Return the colour of a verdict."""
    return _STYLES[verdict]


def phase_to_text(phase: str, event: PhaseStarted) -> str:
    """Return `setup: network full, secrets NPM_TOKEN, brokered GH_PAT`."""
    secrets = f", secrets {', '.join(event.secrets)}" if event.secrets else ", no secrets"
    brokered = f", brokered {', '.join(event.brokered)}" if event.brokered else ""
    model = f", model of {event.model}" if event.model else ""
    return f"{phase}: network {event.network}{secrets}{brokered}{model}"


class Narrator:
    """Turns a task's events into lines. Holds back unfinished lines of output until they are complete."""

    def __init__(self, labels: Mapping[AttemptId, str] | None = None, *, raw: bool = False) -> None:
        """`raw`: of an agent that is understood, tell what it printed, in place of what it said."""
        self._labels = labels or {}
        self._raw = raw
        self._output: dict[tuple[AttemptId | None, str, str], LineBuffer] = defaultdict(LineBuffer)
        self._allowed: dict[AttemptId | None, int] = defaultdict(int)
        self._used: dict[AttemptId | None, UsageTally] = defaultdict(UsageTally)

    def tell(self, recorded: RecordedEvent) -> list[Text]:
        """Return the lines to print, all of them harmless to a terminal."""
        label = self._labels.get(recorded.attempt, "") if recorded.attempt else ""
        return [Text.assemble((label, "cyan"), line) for line in self._lines(recorded, recorded.event)]

    def _lines(self, recorded: RecordedEvent, event: Event) -> list[Text]:
        match event:
            case Output(told=True) if not self._raw:
                return []
            case AgentEvent() if self._raw:
                return []
            case Usage():
                self._used[recorded.attempt].add(event)
                return []
            case Output():
                lines = self._output[recorded.attempt, event.command, event.stream].feed(event.text)
                if len(lines) > _FLOOD:
                    label = self._labels.get(recorded.attempt, "") if recorded.attempt else ""
                    return [_flood(lines, label, event)]
                return [_output_line(line, event.stream, event.command) for line in lines]
            case PhaseStarted():
                return [Text(neutralize(phase_to_text(recorded.phase or "", event)), style="bold")]
            case PhaseFinished():
                return [
                    *self._rest_of_output(recorded.attempt),
                    *(
                        Text(line, style=style)
                        for line, style in self._used.pop(recorded.attempt, UsageTally()).lines()
                    ),
                    self._phase_finished(recorded, event),
                ]
            case EgressAllowed():
                self._allowed[recorded.attempt] += 1
                return []
            case _:
                return [Text(neutralize_line(text), style=style) for text, style in _sentences(event)]

    def _rest_of_output(self, attempt: AttemptId | None) -> list[Text]:
        ended = [key for key in self._output if key[0] == attempt]
        return [_output_line(line, key[2], key[1]) for key in ended for line in self._output.pop(key).flush()]

    def _usage(self, attempt: AttemptId | None) -> list[Text]:
        used = self._used.pop(attempt, None)
        return [Text(line, style=style) for line, style in used.lines()] if used else []

    def _phase_finished(self, recorded: RecordedEvent, event: PhaseFinished) -> Text:
        allowed = self._allowed.pop(recorded.attempt, 0)
        requests = f", {allowed} request{'s' if allowed > 1 else ''} let out" if allowed else ""
        return Text(f"{recorded.phase} took {event.seconds:.1f} s{requests}", style="dim")


def _output_line(line: str, stream: str, command: str) -> Text:
    return Text.assemble((_margin(command), "dim"), (neutralize(line), "yellow" if stream == "stderr" else ""))


def _flood(lines: Sequence[str], label: str, event: Output) -> Text:
    """Return many lines as one text: each for itself would take a hundred times as long as to read it."""
    margin = f"\n{label}{_margin(event.command)}"
    return Text(_margin(event.command) + neutralize("\n".join(lines)).replace("\n", margin))


def _margin(command: str) -> str:
    return neutralize(f"  {command.removeprefix(_SERVICE)} | " if command.startswith(_SERVICE) else "  | ")


def _sentences(event: Event) -> list[tuple[str, str]]:
    match event:
        case TaskAccepted():
            at = f"at {event.ref} ({event.commit[:_KEY_SHOWN]}), environment {event.environment}"
            version = f", version {event.environment_version}" if event.environment_version else ""
            return [(at + version, ""), *((f"note: {note}", "yellow") for note in event.notes)]
        case TurnAccepted():
            from_ = f"turn {event.turn}, which goes on from attempt {event.continues.partition('-')[2]}"
            return [(from_, ""), *((f"note: {note}", "yellow") for note in event.notes)]
        case AttemptStarted():
            return [(f"taken over after a failure, retry {event.retry}", "yellow")] if event.retry else []
        case CatchingMissed():
            note = "note: programs that ignore the proxy reach nothing on this host; `cloister doctor` says why"
            return [(f"  {note}", "yellow")]
        case FinalDiskResumed():
            whose = event.continues.partition("-")[2]
            return [(f"  disk of attempt {whose}: as its agent left it, so nothing of setup runs", "green")]
        case FinalDiskMissed():
            whose = event.continues.partition("-")[2]
            lost = "its change is applied after setup, and what else it wrote is not there"
            return [(f"  disk of attempt {whose}: {event.reason}; {lost}", "yellow")]
        case SnapshotHit():
            return [(f"  snapshot {event.key[:_KEY_SHOWN]}{_of(event.ref)}: hit", "green")]
        case SnapshotMissed():
            return [(f"  snapshot: none fits ({event.reason})", "yellow")]
        case SnapshotAwaited():
            return [(f"  snapshot {event.key[:_KEY_SHOWN]}: another attempt is making it, so this one waits", "")]
        case SetupPlanned():
            return [
                *((f"  version {version}", "") for version in event.versions),
                *((f"  detected {step}", "") for step in event.steps),
                *((f"  note: {note}", "yellow") for note in event.notes),
                *([(f"  not as on the default branch: {', '.join(event.differing)}", "")] if event.differing else []),
            ]
        case SetupStepFinished():
            place = place_to_text(event.tool, event.folder, event.reason)
            took = f"took {event.seconds:.1f} s" if event.seconds is not None else "was killed"
            return [(f"  {place} {took if event.ok else f'failed, {took}'}", "dim" if event.ok else "red")]
        case ShellOpened():
            return [("  the shell is yours; `exit` or ctrl-d ends it, and nothing of it is kept", "green")]
        case ShellClosed():
            return [(f"  shell closed after {event.seconds:.1f} s, with status {event.status}", "")]
        case SnapshotSaved():
            return [(f"  snapshot {event.key[:_KEY_SHOWN]}{_of(event.ref)}: saved", "")]
        case SecretDelivered():
            return [(f"  secrets delivered: {', '.join(event.names)}", "")]
        case SecretRemoved():
            return [(f"  secrets removed: {', '.join(event.names)}", "")]
        case ServiceStarted():
            return [(f"  service {event.service}: started", "")]
        case ServiceReady():
            return [(f"  service {event.service}: ready after {event.seconds:.2f} s", "green")]
        case ServiceEnded():
            ended = f"  service {event.service}: its command ended with status {event.status}"
            return [(ended, "yellow" if event.status else "dim")]
        case EgressRefused():
            refused, *hint = refusal_lines(event)
            return [(refused, "red"), *((line, "") for line in hint)]
        case InstructionsRestored():
            undone = event.diff.splitlines()
            more = len(undone) - _MOST_LINES
            return [
                *((f"  instructions restored: {path}", "yellow") for path in (*event.paths, *more_to_text(event.more))),
                *((f"    {line}", "dim") for line in undone[:_MOST_LINES]),
                *([(f"    ... and {more} lines more: --json shows them", "dim")] if more > 0 else []),
                *((f"  not undone: {path}, which leads agents elsewhere", "yellow") for path in event.left),
            ]
        case ResidueFound():
            details = (*event.details, *more_to_text(event.more))
            return [(f"  secret on disk, {event.action}: {detail}", "red") for detail in details]
        case PersonEntered():
            return [(f"  somebody opened shell {event.shell} beside the agent", "yellow")]
        case PersonLeft():
            return [(f"  shell {event.shell} was closed after {event.seconds:.1f} s", "yellow")]
        case TimeRunningOut():
            return [(f"  the agent is stopped in {event.seconds_left:.0f} s, and was told so", "yellow")]
        case ArtifactsKept():
            told = [(f"  artifacts: {', '.join(event.names)}", "")] if event.names else []
            return [*told, *((f"  artifact left out: {reason}", "yellow") for reason in event.left_out)]
        case EndRequested():
            kept = "and its change is collected" if event.collect else "and nothing of it is kept"
            return [(f"  the agent was asked to end; it is killed after {event.grace_seconds:g} s, {kept}", "yellow")]
        case DiffCollected():
            return [(f"  change: {stats_to_text(event.files, event.added, event.removed)}", "")]
        case AgentEvent():
            return agent_lines(event)
        case ModelCallFailed():
            return [failed_call_line(event)]
        case CheckFinished():
            return [(f"  {line}", style) for line, style in check_lines(event)]
        case RecordMissed():
            return [(f"no record: {event.reason}", "yellow")]
        case AttemptFinished():
            # Marked as output is: a script's last words must not pass for ours.
            reason, *words = event.reason.split("\n")
            said = f"{event.verdict}: {reason}" if event.reason not in ("", event.verdict) else event.verdict
            return [(said, style_of(event.verdict)), *((f"  | {line}", style_of(event.verdict)) for line in words)]
        case _:
            return []


def more_to_text(count: int) -> tuple[str, ...]:
    """Return what stands behind a list that was cut; nothing when it was not."""
    return (f"and {count} more",) if count else ()


def refusal_lines(event: EgressRefused) -> list[str]:
    """Say what was refused, and what to do about it."""
    by = f" (asked by {event.command})" if event.command else ""
    hint = [f"           {event.hint}"] if event.hint else []
    return [f"  refused: {event.method} {event.host}:{event.port}: {event.rule}{by}", *hint]


def _of(ref: str | None) -> str:
    return "" if ref is None else f" of {ref} alone"


def check_lines(result: CheckFinished | CheckResult) -> list[tuple[str, str]]:
    """Say how a check ended, and what a reader should know of it, each with its style."""
    flaky = ", the second time" if result.flaky else ""
    how = f"passed{flaky}" if result.ok else f"failed: {result.reason}"
    said = (f"check {result.name} {how} ({result.seconds:.1f} s)", "green" if result.ok else "red")
    return [said, *((f"  {note}", "yellow") for note in result.notes)]


def stats_to_text(files: int, added: int, removed: int) -> str:
    """Return `2 files, +10 -3`."""
    if not files:
        return "nothing changed"
    return f"{files} file{'s' if files > 1 else ''}, +{added} -{removed}"
