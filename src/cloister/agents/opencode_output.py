"""Reads what `opencode run --format json` prints: an object a line, as recorded from 1.18.33."""

from collections.abc import Sequence

from cloister.agents.commands_run import CommandsRun
from cloister.agents.json_line import (
    Fields,
    ObjectLines,
    find_cost,
    find_status,
    number_in,
    objects_in,
    short_json,
    text_in,
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

_EDITORS = ("edit", "write", "multiedit")


class OpencodeOutput(ObjectLines):
    """`AgentParser` for opencode."""

    def __init__(self) -> None:
        self._commands = CommandsRun()
        self._session = ""

    def read(self, told: Fields) -> Sequence[AgentReport] | None:
        """See `ObjectLines`."""
        reports = self._read(told)
        return None if reports is None else [*self._named(text_in(told, "sessionID")), *reports]

    def _named(self, session: str) -> Sequence[AgentReport]:
        """Every line names the session; it is told once."""
        if session in ("", self._session):
            return []
        self._session = session
        return [SessionNamed(session=session)]

    def _read(self, told: Fields) -> Sequence[AgentReport] | None:
        match told:
            case {"type": "step_start"}:
                return []
            case {"type": "text", "part": {"text": str(text)}}:
                return [Message(text=text)]
            case {"type": "reasoning", "part": {"text": str(text)}}:
                return [Reasoning(text=text)]
            case {"type": "tool_use", "part": {"tool": str(tool), "callID": str(id), "state": dict(state)}}:
                return self._used(tool, id, state)
            case {"type": "step_finish", "part": dict(part)} if isinstance(tokens := part.get("tokens"), dict):
                return [_tokens(tokens, part)]
            case {"type": "error", "error": dict(error)}:
                return [AgentFailed(text=text_in(error.get("data"), "message") or text_in(error, "name", "message"))]
        return None

    def _used(self, tool: str, id: str, state: Fields) -> Sequence[AgentReport]:
        given, failed = state.get("input"), text_in(state, "error")
        if tool == "bash" and (line := text_in(given, "command")):
            status = find_status(state.get("metadata"), "exit")
            return self._commands.finish(id, line, failed or text_in(state, "output"), status)
        path = text_in(given, "filePath", "file_path")
        if failed:
            return [AgentFailed(text=f"{tool}: {failed}")]
        if tool in _EDITORS and path:
            return [FilesChanged(paths=(path,))]
        if tool == "todowrite" and isinstance(given, dict):
            return [PlanMade(steps=tuple(map(_step, objects_in(given.get("todos")))))]
        return [ToolUsed(name=tool, text=text_in(state, "title") or path or short_json(given))]


_: type[AgentParser] = OpencodeOutput


def _step(todo: Fields) -> PlanStep:
    return PlanStep(text=text_in(todo, "content"), done=todo.get("status") == "completed")


def _tokens(tokens: Fields, part: Fields) -> TokensUsed:
    cached, written = number_in(tokens.get("cache"), "read"), number_in(tokens.get("cache"), "write")
    return TokensUsed(
        input_tokens=number_in(tokens, "input") + cached + written,
        cached_input_tokens=cached,
        output_tokens=number_in(tokens, "output") + number_in(tokens, "reasoning"),
        cost=find_cost(part, "cost"),
    )
