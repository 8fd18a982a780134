"""Makes events of what an agent prints, by its parser: lines whole and bounded, commands numbered, texts masked."""

from collections.abc import Callable, Sequence

import structlog

from cloister.model.agent_report import (
    AgentFailed,
    AgentReport,
    CommandFinished,
    CommandStarted,
    FilesChanged,
    Message,
    Plain,
    PlanMade,
    PlanStep,
    Reasoning,
    SessionNamed,
    TokensUsed,
    ToolUsed,
)
from cloister.model.event import AgentEvent, AgentEventKind, Event, Usage
from cloister.protocols import AgentParser

LONGEST_LINE = 4 * 1024 * 1024
"""Characters; a longer one is no report, and told as it is."""
LONGEST_TEXT = 64 * 1024
"""Characters of a text in an event; of a longer one, its beginning and its end are told."""
MOST_PATHS = 1000

_log = structlog.get_logger(__name__)


class AgentReader:
    """Reads one run's standard output, masked and decoded, wherever it is cut."""

    def __init__(self, parser: AgentParser, command: str, *, mask: Callable[[str], str], commands_before: int) -> None:
        self._parser = parser
        self._command = command
        self._mask = mask
        self._commands_before = commands_before
        self._line: list[str] = []
        self._line_length = 0
        self._too_long = False
        self.last_message = ""
        """The agent's answer so far, masked; empty when it has said nothing."""
        self.session: str | None = None
        """The newest id under which the agent can resume the conversation."""

    def feed(self, text: str, offset: int) -> Sequence[Event]:
        """Return what the lines that end in `text` say; `offset` is where reading goes on behind it."""
        reports: list[AgentReport] = []
        *ended, rest = text.split("\n")
        for part in ended:
            reports += self._take(part)
            reports += self._end_line()
        reports += self._take(rest)
        return self._events(reports, offset)

    def end(self, offset: int) -> Sequence[Event]:
        """Return what is left to say at the end of the output."""
        reports = [*self._end_line()] if self._line_length or self._too_long else []
        return self._events([*reports, *self._ask(self._parser.close, left="")], offset)

    def _take(self, part: str) -> Sequence[AgentReport]:
        """Keep a part of a line; a line that grows too long is told in pieces."""
        self._line.append(part)
        self._line_length += len(part)
        if self._line_length <= LONGEST_LINE:
            return ()
        piece, self._line, self._line_length = "".join(self._line), [], 0
        self._too_long = True
        return [Plain(text=piece)]

    def _end_line(self) -> Sequence[AgentReport]:
        line, self._line, self._line_length = "".join(self._line).removesuffix("\r"), [], 0
        too_long, self._too_long = self._too_long, False
        return [Plain(text=line)] if too_long else self._ask(lambda: self._parser.feed(line), left=line)

    def _ask(self, parser: Callable[[], Sequence[AgentReport]], *, left: str) -> Sequence[AgentReport]:
        try:
            return parser()
        except Exception:  # a bug of the parser, met by what a sandbox printed, must not end the attempt
            _log.exception("an agent's output could not be parsed", command=self._command)
            return [Plain(text=left)] if left else []

    def _events(self, reports: Sequence[AgentReport], offset: int) -> Sequence[Event]:
        events: list[Event] = []
        plain: list[str] = []
        for report in reports:
            if isinstance(report, Plain):
                plain.append(report.text)
                continue
            events += [*self._plain(plain, offset), self._event(report, offset)]
            plain = []
        return [*events, *self._plain(plain, offset)]

    def _plain(self, lines: Sequence[str], offset: int) -> Sequence[Event]:
        """Lines that come together are one event: an agent may print nothing else."""
        text = "\n".join(lines)
        return [self._told(AgentEventKind.PLAIN, offset, text)] if text.strip() else []

    def _event(self, report: AgentReport, offset: int) -> Event:
        match report:
            case Message(text=text):
                self.last_message = self._mask(text)
                return self._told(AgentEventKind.MESSAGE, offset, text)
            case Reasoning(text=text):
                return self._told(AgentEventKind.REASONING, offset, text)
            case CommandStarted():
                return self._command_event(AgentEventKind.COMMAND_STARTED, offset, report, output="", status=None)
            case CommandFinished(output=output, status=status):
                kind = AgentEventKind.COMMAND_FINISHED
                return self._command_event(kind, offset, report, output=output, status=status)
            case ToolUsed(name=name, text=text):
                return self._told(AgentEventKind.TOOL_USED, offset, text, tool=self._shown(name))
            case FilesChanged(paths=paths):
                shown = tuple(map(self._shown, paths[:MOST_PATHS]))
                return self._told(AgentEventKind.FILES_CHANGED, offset, paths=shown)
            case PlanMade(steps=steps):
                return self._told(AgentEventKind.PLAN_MADE, offset, "\n".join(map(_step_to_text, steps)))
            case AgentFailed(text=text):
                return self._told(AgentEventKind.FAILED, offset, text)
            case SessionNamed(session=session):
                self.session = session
                return self._told(AgentEventKind.SESSION_NAMED, offset, session=self._shown(session))
            case TokensUsed():
                return self._usage(report, offset)
            case Plain(text=text):
                return self._told(AgentEventKind.PLAIN, offset, text)

    def _command_event(
        self,
        kind: AgentEventKind,
        offset: int,
        report: CommandStarted | CommandFinished,
        *,
        output: str,
        status: int | None,
    ) -> AgentEvent:
        return AgentEvent(
            kind=kind,
            text=self._shown(output),
            number=self._commands_before + report.number,
            command_line=self._shown(report.command_line),
            status=status,
            command=self._command,
            offset=offset,
        )

    def _told(
        self,
        kind: AgentEventKind,
        offset: int,
        text: str = "",
        *,
        tool: str | None = None,
        paths: tuple[str, ...] = (),
        session: str | None = None,
    ) -> AgentEvent:
        return AgentEvent(
            kind=kind,
            text=self._shown(text),
            tool=tool,
            paths=paths,
            session=session,
            command=self._command,
            offset=offset,
        )

    def _usage(self, used: TokensUsed, offset: int) -> Usage:
        return Usage(
            source="agent",
            input_tokens=used.input_tokens,
            cached_input_tokens=used.cached_input_tokens,
            output_tokens=used.output_tokens,
            cost=used.cost,
            command=self._command,
            offset=offset,
        )

    def _shown(self, text: str) -> str:
        """Mask a text, because what a parser decoded may be a form that the stream did not have; then cut it."""
        masked = self._mask(text)
        left_out = len(masked) - LONGEST_TEXT
        if left_out <= 0:
            return masked
        half = LONGEST_TEXT // 2
        return f"{masked[:half]}\n[{left_out} characters are left out]\n{masked[-half:]}"


def _step_to_text(step: PlanStep) -> str:
    return f"[{'x' if step.done else ' '}] {step.text}"
