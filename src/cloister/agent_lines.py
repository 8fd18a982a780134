"""Tells what an agent did as lines for people."""

from cloister.model.event import AgentEvent, AgentEventKind, Usage
from cloister.model.model_usage import TokenUsage, UsageTotal
from cloister.narration import tokens_to_text, usage_to_text

_LAST_LINES = 10
"""Of what a command printed."""

Line = tuple[str, str]
"""Text, not yet harmless to a terminal, and its style."""


def agent_lines(event: AgentEvent) -> list[Line]:
    """Say what the agent told. Each line begins with a margin, so that it cannot pass for ours."""
    match event.kind:
        case AgentEventKind.MESSAGE:
            return _beside("  agent | ", event.text, "bold")
        case AgentEventKind.REASONING:
            return _beside("  thinks | ", event.text, "dim italic")
        case AgentEventKind.COMMAND_STARTED:
            return _command_line(event)
        case AgentEventKind.COMMAND_FINISHED:
            return _ended_command(event)
        case AgentEventKind.TOOL_USED:
            return _beside(f"  {_one_line(event.tool or '')} | ", event.text, "")
        case AgentEventKind.FILES_CHANGED:
            return [(f"  changed | {_one_line(path)}", "green") for path in event.paths]
        case AgentEventKind.PLAN_MADE:
            return _beside("  plan | ", event.text, "")
        case AgentEventKind.FAILED:
            return _beside("  failed | ", event.text, "red")
        case AgentEventKind.PLAIN:
            return _beside("  | ", event.text, "")
        case AgentEventKind.SESSION_NAMED:
            return []


class UsageTally:
    """What model calls took in a phase. What the proxy counted is told; else what the agent said of the same calls."""

    def __init__(self) -> None:
        self._counted = self._said = UsageTotal()

    def add(self, event: Usage) -> None:
        """Take one more account."""
        usage = TokenUsage(
            input_tokens=event.input_tokens,
            cached_tokens=event.cached_input_tokens,
            cache_written_tokens=event.cache_written_tokens,
            output_tokens=event.output_tokens,
        )
        if event.source == "agent":
            self._said = self._said.plus(usage, event.cost, estimated=event.estimated)
        else:
            self._counted = self._counted.plus(usage, event.cost, estimated=event.estimated)

    def lines(self) -> list[Line]:
        """Say it."""
        if self._counted.calls:
            return [(f"  model: {usage_to_text(self._counted)}", "dim")]
        if not self._said.calls:
            return []
        usage, cost = self._said.usage, f", ${self._said.cost:.4f}" if self._said.cost is not None else ""
        return [(f"  model: {tokens_to_text(usage)}{cost}, says the agent", "dim")]


def _command_line(event: AgentEvent) -> list[Line]:
    return _beside(f"  {event.number} $ ", event.command_line or "", "cyan")


def _ended_command(event: AgentEvent) -> list[Line]:
    """The command line was told when it began; where it was not, its number leads to it."""
    printed = event.text.rstrip("\n").split("\n") if event.text.strip() else []
    more = len(printed) - _LAST_LINES
    skipped = [(f"  {event.number} | ... {more} lines before: `cloister task logs --raw` has them", "dim")]
    shown = [(f"  {event.number} | {line}", "") for line in printed[-_LAST_LINES:]]
    ended = [] if event.status in (0, None) else [(f"  {event.number} ended with status {event.status}", "yellow")]
    return [*(skipped if more > 0 else []), *shown, *ended]


def _beside(margin: str, text: str, style: str) -> list[Line]:
    return [(margin + line, style) for line in text.strip("\n").split("\n")]


def _one_line(text: str) -> str:
    return " ".join(text.split())
