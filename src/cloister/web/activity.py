"""What happened in an attempt, as entries of a page: what its agent said and did, and what programs printed."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from cloister.model.event import (
    AgentEvent,
    AgentEventKind,
    AgentPrompted,
    AttemptFinished,
    Event,
    Output,
    PhaseFinished,
    PhaseStarted,
    RecordedEvent,
)
from cloister.narration import sentences
from cloister.neutral_text import LineBuffer

LONGEST_TEXT = 100_000
"""Characters of one entry that a page shows: its end."""

_SERVICE = "service:"
_TEXTS = {
    AgentEventKind.MESSAGE: "message",
    AgentEventKind.REASONING: "reasoning",
    AgentEventKind.PLAN_MADE: "plan",
    AgentEventKind.FAILED: "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened."""

    seq: int
    at: datetime
    kind: str
    """phase, message, reasoning, plan, failed, command, tool, files, output, prompt, ended or note."""
    title: str = ""
    text: str = ""
    style: str = ""
    number: int | None = None
    """Of a command, or of a round."""
    status: int | None = None
    done: bool = True
    """Whether a command has ended."""
    left_out: int = 0
    """Characters before the text."""
    key: str = ""
    """What a later entry that tells of the same command, or of the same program's output, has too."""


class Activity:
    """Turns events into entries, in the order in which they come."""

    def __init__(self) -> None:
        self._output: dict[tuple[str, str], LineBuffer] = defaultdict(LineBuffer)
        self._commands: dict[int, str] = {}

    def feed(self, recorded: RecordedEvent) -> list[Entry]:
        """Return what a page shows of an event. The end of a command has the key of its beginning."""
        blank = Entry(seq=recorded.seq, at=recorded.at, kind="note")
        match recorded.event:
            case Output(told=True):
                return []
            case Output() as output:
                return self._printed(blank, output)
            case AgentEvent() as event:
                return self._agent(blank, event)
            case PhaseStarted():
                return [replace(blank, kind="phase", title=str(recorded.phase))]
            case PhaseFinished():
                return self._rest(blank)
            case AgentPrompted(round=0):
                return []
            case AgentPrompted() as prompted:
                return [replace(blank, kind="prompt", number=prompted.round, text=prompted.text)]
            case AttemptFinished() as ended:
                return [replace(blank, kind="ended", title=str(ended.verdict), text=ended.reason)]
            case event:
                return self._told(blank, event)

    def _told(self, blank: Entry, event: Event) -> list[Entry]:
        return [replace(blank, text=text.strip(), style=style) for text, style in sentences(event)]

    def _printed(self, blank: Entry, event: Output) -> list[Entry]:
        lines = self._output[event.command, event.stream].feed(event.text)
        return [self._lines(blank, lines, event.command, event.stream)] if lines else []

    def _rest(self, blank: Entry) -> list[Entry]:
        rest = [(key, buffer.flush()) for key, buffer in self._output.items()]
        self._output.clear()
        return [self._lines(blank, lines, *key) for key, lines in rest if lines]

    def _lines(self, blank: Entry, lines: list[str], command: str, stream: str) -> Entry:
        title = command.removeprefix(_SERVICE) if command.startswith(_SERVICE) else ""
        return replace(
            blank, kind="output", title=title, text="\n".join(lines) + "\n", style=stream, key=f"{title}:{stream}"
        )

    def _agent(self, blank: Entry, event: AgentEvent) -> list[Entry]:
        match event.kind:
            case AgentEventKind.COMMAND_STARTED | AgentEventKind.COMMAND_FINISHED:
                return [self._command(blank, event)]
            case AgentEventKind.TOOL_USED:
                return [replace(blank, kind="tool", title=event.tool or "", text=event.text)]
            case AgentEventKind.FILES_CHANGED:
                return [replace(blank, kind="files", text="\n".join(event.paths))]
            case AgentEventKind.SESSION_NAMED:
                return []
            case AgentEventKind.PLAIN:
                return [replace(blank, kind="output", text=event.text + "\n", style="stdout", key=":stdout")]
        return [replace(blank, kind=_TEXTS[event.kind], text=event.text)]

    def _command(self, blank: Entry, event: AgentEvent) -> Entry:
        number = event.number or 0
        if event.command_line is not None:
            self._commands[number] = event.command_line
        return replace(
            blank,
            kind="command",
            title=self._commands.get(number, ""),
            text=event.text,
            number=number,
            status=event.status,
            done=event.kind is AgentEventKind.COMMAND_FINISHED,
            key=f"command-{number}",
        )


def joined(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries with the end of each command in the place of its beginning, and output in one piece."""
    found: list[Entry] = []
    places: dict[str, int] = {}
    for entry in entries:
        if entry.kind == "command" and entry.key in places:
            place = places[entry.key]
            found[place] = replace(entry, seq=found[place].seq, at=found[place].at)
        elif entry.kind == "output" and found and found[-1].kind == "output" and found[-1].key == entry.key:
            found[-1] = _with_more(found[-1], entry.text)
        else:
            if entry.kind == "command":
                places[entry.key] = len(found)
            found.append(entry)
    return [_cut(entry) for entry in found]


def _with_more(entry: Entry, text: str) -> Entry:
    """Return it with more text. Of much, the end alone is kept meanwhile, or joining would take ever longer."""
    whole = entry.text + text
    left_out = max(0, len(whole) - LONGEST_TEXT) if len(whole) > 2 * LONGEST_TEXT else 0
    return replace(entry, text=whole[left_out:], left_out=entry.left_out + left_out)


def _cut(entry: Entry) -> Entry:
    left_out = entry.left_out + max(0, len(entry.text) - LONGEST_TEXT)
    if not left_out:
        return entry
    return replace(entry, text=f"... {left_out} characters before\n{entry.text[-LONGEST_TEXT:]}")
