"""Reads what `gemini --output-format stream-json` prints: an object a line, as recorded from 0.61.0."""

from collections.abc import Sequence

from cloister.agents.commands_run import CommandsRun
from cloister.agents.json_line import Fields, number_in, read_object, short_json, text_in
from cloister.model.agent_report import (
    AgentFailed,
    AgentReport,
    FilesChanged,
    Message,
    Plain,
    SessionNamed,
    TokensUsed,
    ToolUsed,
)
from cloister.protocols import AgentParser

_EDITORS = ("replace", "write_file", "edit")
_SHELL = "run_shell_command"
_MOST_CALLS = 1000
"""That have no result yet; older ones are forgotten."""
_LONGEST_MESSAGE = 1024 * 1024
"""Characters of a message that comes in pieces; a longer one is told in several."""


class GeminiOutput:
    """`AgentParser` for gemini. It tells no status of a command; messages come in pieces, and are told whole."""

    def __init__(self) -> None:
        self._commands = CommandsRun()
        self._edits: dict[str, str] = {}
        """Paths that are being changed, by the call's id."""
        self._pieces: list[str] = []
        self._length = 0

    def feed(self, line: str) -> Sequence[AgentReport]:
        """See `protocols.AgentParser`."""
        told = read_object(line)
        match told:
            case {"type": "message", "role": "assistant", "content": str(piece), "delta": True}:
                return self._take(piece)
            case None:
                return [*self.close(), Plain(text=line)]
        reports = self._read(told)
        return [*self.close(), *([Plain(text=line)] if reports is None else reports)]

    def close(self) -> Sequence[AgentReport]:
        """The end of a message is what is no further piece of it."""
        text, self._pieces, self._length = "".join(self._pieces), [], 0
        return [Message(text=text)] if text else []

    def _take(self, piece: str) -> Sequence[AgentReport]:
        self._pieces.append(piece)
        self._length += len(piece)
        return self.close() if self._length > _LONGEST_MESSAGE else []

    def _read(self, told: Fields) -> Sequence[AgentReport] | None:
        match told:
            case {"type": "init", "session_id": str(session)}:
                return [SessionNamed(session=session)]
            case {"type": "message", "role": "user"}:
                return []
            case {"type": "message", "role": "assistant", "content": str(text)}:
                return [Message(text=text)] if text else []
            case {"type": "tool_use", "tool_name": str(name), "tool_id": str(id), "parameters": dict(given)}:
                return self._call(id, name, given)
            case {"type": "tool_result", "tool_id": str(id)}:
                return self._result(id, told)
            case {"type": "error", "message": str(text)}:
                return [AgentFailed(text=text)]
            case {"type": "result"}:
                failed = text_in(told.get("error"), "message")
                return [*([AgentFailed(text=failed)] if failed else []), _tokens(told.get("stats"))]
        return None

    def _call(self, id: str, name: str, given: Fields) -> Sequence[AgentReport]:
        if name == _SHELL and (line := text_in(given, "command")):
            return self._commands.start(id, line)
        if name in _EDITORS and (path := text_in(given, "file_path")):
            if len(self._edits) == _MOST_CALLS:
                self._edits.pop(next(iter(self._edits)))
            self._edits[id] = path
            return []
        return [ToolUsed(name=name, text=short_json(given))]

    def _result(self, id: str, told: Fields) -> Sequence[AgentReport]:
        output, failed = text_in(told, "output"), text_in(told.get("error"), "message")
        if self._commands.has(id):
            return self._commands.finish(id, "", output or failed, None)
        path = self._edits.pop(id, None)
        if told.get("status") == "error":
            return [AgentFailed(text=failed or output)]
        return [FilesChanged(paths=(path,))] if path else []


_: type[AgentParser] = GeminiOutput


def _tokens(stats: object) -> TokensUsed:
    return TokensUsed(
        input_tokens=number_in(stats, "input_tokens"),
        cached_input_tokens=number_in(stats, "cached"),
        output_tokens=number_in(stats, "output_tokens"),
    )
