"""Tells events as lines for people."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.text import Text

from cloister.agent_lines import UsageTally, agent_lines
from cloister.cli.terminal import LineBuffer, neutralize, neutralize_line
from cloister.model.event import (
    AgentEvent,
    EgressAllowed,
    Event,
    Output,
    PhaseFinished,
    PhaseStarted,
    RecordedEvent,
    Usage,
)
from cloister.model.task import AttemptId
from cloister.narration import sentences

_FLOOD = 100
"""Lines that come at once; above, their colours are left out."""
_SERVICE = "service:"


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
            case AgentEvent():
                return [Text(neutralize_line(text), style=style) for text, style in agent_lines(event)]
            case _:
                return [Text(neutralize_line(text), style=style) for text, style in sentences(event)]

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
