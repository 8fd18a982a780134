"""Reads what `claude -p --output-format stream-json --verbose` prints: an object a line, as recorded from 2.1.332."""

import re
from collections.abc import Iterable, Sequence

from cloister.agents.commands_run import CommandsRun
from cloister.agents.json_line import Fields, ObjectLines, find_cost, number_in, objects_in, short_json, text_in
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

_EDITORS = ("Edit", "Write", "MultiEdit", "NotebookEdit")
_STATUS = re.compile(r"Exit code (\d{1,9})(?:\n|$)")
_QUIET = ("thinking_tokens", "status")
_MOST_CALLS = 1000
"""That have no result yet; older ones are forgotten."""


class ClaudeOutput(ObjectLines):
    """`AgentParser` for Claude Code."""

    def __init__(self) -> None:
        self._commands = CommandsRun()
        self._edits: dict[str, str] = {}
        """Paths that are being changed, by the call's id."""
        self._last_text = ""

    def read(self, told: Fields) -> Sequence[AgentReport] | None:
        """See `ObjectLines`."""
        match told:
            case {"type": "system", "subtype": "init", "session_id": str(session)}:
                return [SessionNamed(session=session)]
            case {"type": "system", "subtype": "api_retry"}:
                return [AgentFailed(text=_retry(told))]
            case {"type": "system", "subtype": str(subtype)} if subtype in _QUIET:
                return []
            case {"type": "assistant", "error": str(), "message": {"content": list(content)}}:
                return [self._failed(text_in(block, "text")) for block in objects_in(content)]
            case {"type": "assistant", "message": {"content": list(content)}}:
                inner = isinstance(told.get("parent_tool_use_id"), str)
                return _all(self._block(block, inner=inner) for block in objects_in(content))
            case {"type": "user", "message": {"content": list(content)}}:
                return _all(self._result(block) for block in objects_in(content))
            case {"type": "result"}:
                return self._end(told)
        return None

    def _block(self, block: Fields, *, inner: bool) -> Sequence[AgentReport] | None:
        """`inner` are the words of an agent that the agent has asked."""
        match block:
            case {"type": "text", "text": str(text)}:
                self._last_text = self._last_text if inner else text
                return [ToolUsed(name="Agent", text=text) if inner else Message(text=text)]
            case {"type": "thinking", "thinking": str(text)}:
                return [Reasoning(text=text)] if text else []
            case {"type": "tool_use", "id": str(id), "name": str(name), "input": dict(given)}:
                return self._call(id, name, given)
        return None

    def _call(self, id: str, name: str, given: Fields) -> Sequence[AgentReport]:
        match name:
            case "Bash" if text_in(given, "command"):
                return self._commands.start(id, text_in(given, "command"))
            case "TodoWrite":
                return [PlanMade(steps=tuple(map(_step, objects_in(given.get("todos")))))]
            case _ if name in _EDITORS and (path := text_in(given, "file_path", "notebook_path")):
                if len(self._edits) == _MOST_CALLS:
                    self._edits.pop(next(iter(self._edits)))
                self._edits[id] = path
                return []
        return [ToolUsed(name=name, text=_given(given))]

    def _result(self, block: Fields) -> Sequence[AgentReport] | None:
        id = text_in(block, "tool_use_id")
        if block.get("type") != "tool_result" or not id:
            return None
        text, failed = _content(block.get("content")), block.get("is_error") is True
        if self._commands.has(id):
            found = _STATUS.match(text) if failed else None
            output = text[found.end() :] if found else text
            status = int(found[1]) if found else (None if failed else 0)
            return self._commands.finish(id, "", output, status)
        path = self._edits.pop(id, None)
        if failed:
            return [AgentFailed(text=f"{path}: {text}" if path else text)]
        return [FilesChanged(paths=(path,))] if path else []

    def _failed(self, text: str) -> AgentFailed:
        self._last_text = text
        return AgentFailed(text=text)

    def _end(self, told: Fields) -> Sequence[AgentReport]:
        text = text_in(told, "result")
        new = bool(text) and text != self._last_text
        said = (AgentFailed(text=text) if told.get("is_error") is True else Message(text=text)) if new else None
        errors = [AgentFailed(text=text) for text in _texts(told.get("errors"))]
        return [*errors, *([said] if said else []), _tokens(told)]


_: type[AgentParser] = ClaudeOutput


def _all(found: Iterable[Sequence[AgentReport] | None]) -> Sequence[AgentReport] | None:
    """Return the reports of all parts; None, so that the line is told, when a part is not understood."""
    parts = [*found]
    return None if not parts or None in parts else [report for part in parts for report in part or ()]


def _retry(told: Fields) -> str:
    status = f" (status {number_in(told, 'error_status')})" if told.get("error_status") else ""
    tried, most = number_in(told, "attempt"), number_in(told, "max_retries")
    return f"{text_in(told, 'error')}{status}: trying again, {tried} of {most}"


def _step(todo: Fields) -> PlanStep:
    return PlanStep(text=text_in(todo, "content"), done=todo.get("status") == "completed")


def _given(given: Fields) -> str:
    """What a tool was given: its only text, or all."""
    values = [*given.values()]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else short_json(given)


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(text_in(part, "text") for part in objects_in(content))


def _texts(value: object) -> Sequence[str]:
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _tokens(told: Fields) -> TokensUsed:
    usage = told.get("usage")
    cached = number_in(usage, "cache_read_input_tokens")
    written = number_in(usage, "cache_creation_input_tokens")
    return TokensUsed(
        input_tokens=number_in(usage, "input_tokens") + cached + written,
        cached_input_tokens=cached,
        output_tokens=number_in(usage, "output_tokens"),
        cost=find_cost(told, "total_cost_usd"),
    )
