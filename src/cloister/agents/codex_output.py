"""Reads what `codex exec --json` prints: an object a line, as recorded from 0.169.0."""

from collections.abc import Sequence

from cloister.agents.commands_run import CommandsRun
from cloister.agents.json_line import (
    Fields,
    ObjectLines,
    find_status,
    number_in,
    objects_in,
    read_object,
    short_json,
    text_in,
    without_shell,
)
from cloister.model.agent_report import (
    AgentFailed,
    AgentReport,
    FilesChanged,
    Message,
    PlanMade,
    PlanStep,
    Reasoning,
    SessionNamed,
    TokensUsed,
    ToolUsed,
)
from cloister.protocols import AgentParser


class CodexOutput(ObjectLines):
    """`AgentParser` for codex. Its usage is the conversation's: of a resumed one, all that it has taken."""

    def __init__(self) -> None:
        self._commands = CommandsRun()
        self._last_failure = ""

    def read(self, told: Fields) -> Sequence[AgentReport] | None:
        """See `ObjectLines`."""
        match told:
            case {"type": "thread.started", "thread_id": str(session)}:
                return [SessionNamed(session=session)]
            case {"type": "turn.started"}:
                return []
            case {"type": "turn.completed", "usage": dict(usage)}:
                return [_tokens(usage)]
            case {"type": "turn.failed", "error": {"message": str(text)}} | {"type": "error", "message": str(text)}:
                return self._failed(text)
            case {"type": "item.started" | "item.updated" | "item.completed" as when, "item": dict(item)}:
                return self._item(item, ended=when == "item.completed")
        return None

    def _failed(self, text: str) -> Sequence[AgentReport]:
        """The end of a turn says its error again. Some errors are the provider's answer as it came."""
        if text == self._last_failure:
            return []
        self._last_failure = text
        answer = read_object(text) or {}
        return [AgentFailed(text=text_in(answer.get("error"), "message") or text)]

    def _item(self, item: Fields, *, ended: bool) -> Sequence[AgentReport] | None:
        match item:
            case {"type": "command_execution", "id": str(id)}:
                line = without_shell(text_in(item, "command"))
                if not ended:
                    return self._commands.start(id, line)
                output, status = text_in(item, "aggregated_output"), find_status(item, "exit_code")
                return self._commands.finish(id, line, output, status)
            case {"type": "todo_list", "items": list(items)}:
                return [PlanMade(steps=tuple(map(_step, objects_in(items))))]
        return _finished_item(item) if ended else []


_: type[AgentParser] = CodexOutput


def _finished_item(item: Fields) -> Sequence[AgentReport] | None:
    match item:
        case {"type": "agent_message", "text": str(text)}:
            return [Message(text=text)]
        case {"type": "reasoning", "text": str(text)}:
            return [Reasoning(text=text)]
        case {"type": "file_change", "changes": list(changes)} if item.get("status") != "failed":
            return [FilesChanged(paths=tuple(text_in(change, "path") for change in objects_in(changes)))]
        case {"type": "mcp_tool_call", "server": str(server), "tool": str(tool)}:
            return [ToolUsed(name=f"{server}.{tool}", text=short_json(item.get("arguments", "")))]
        case {"type": "web_search", "query": str(query)}:
            return [ToolUsed(name="web_search", text=query)]
        case {"type": "error", "message": str(text)}:
            return [AgentFailed(text=text)]
    return None


def _step(item: Fields) -> PlanStep:
    return PlanStep(text=text_in(item, "text"), done=item.get("completed") is True)


def _tokens(usage: Fields) -> TokensUsed:
    return TokensUsed(
        input_tokens=number_in(usage, "input_tokens"),
        cached_input_tokens=number_in(usage, "cached_input_tokens"),
        output_tokens=number_in(usage, "output_tokens"),
    )
