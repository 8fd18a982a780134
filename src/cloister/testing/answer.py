"""What the model answers, whatever the protocol: the turn of a script, put into calls of the agent's own tools."""

import json
import shlex
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloister.testing.asked import Asked, Tool
from cloister.testing.script import Edit, TokenCounts, Turn, Write

_SHELLS = ("exec_command", "shell_command", "shell", "Bash", "bash", "run_shell_command", "execute_bash", "terminal")
_EDITORS = ("Edit", "edit", "replace", "str_replace_editor")
_WRITERS = ("Write", "write", "write_file")
_READERS = ("Read", "read")
"""Of agents that refuse to edit what the model has not read."""
_ENDING = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
"""What mini-swe-agent has its model print, as a command, when the work is done."""
_PATCH = "apply_patch"
_CODE = "exec"
"""Codex with newer models: a program in JavaScript calls the other tools."""
_COMMAND_KEYS = ("cmd", "command")
_PATH_KEYS = ("file_path", "filePath", "path")
_OLD_KEYS = ("old_string", "oldString", "old_str")
_NEW_KEYS = ("new_string", "newString", "new_str")
_TEXT_KEYS = ("content", "text")


class CannotAnswerError(Exception):
    """The agent has no tool for what the script wants."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a tool."""

    id: str
    tool: Tool
    arguments: Mapping[str, Any] | str
    """A text for a tool that takes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer, not yet in the words of a protocol."""

    id: str
    """Unique in the server's life; the ids of calls begin with it."""
    text: str
    thinking: str
    calls: Sequence[Call]
    usage: TokenCounts


def answer_of(turn: Turn, asked: Asked, *, id: str) -> Answer:
    """Return what the turn says, by the tools that the request offers. Raises CannotAnswerError."""
    text, calls = turn.say, [*_calls(turn, asked)]
    if _ENDING in asked.text and not calls:
        calls = [_shell_call(f"echo {_ENDING}", asked)] if asked.tools else []
    if not asked.tools and (turn.run is not None or turn.edit or turn.write):
        text, calls = "\n\n".join(part for part in (turn.say, _as_text(turn, asked)) if part), []
    numbered = [Call(id=f"{id}_{n}", tool=tool, arguments=arguments) for n, (tool, arguments) in enumerate(calls)]
    return Answer(id=id, text=text, thinking=turn.think, calls=numbered, usage=turn.usage)


def _calls(turn: Turn, asked: Asked) -> Sequence[tuple[Tool, Mapping[str, Any] | str]]:
    if not asked.tools:
        return []
    if turn.run is not None:
        return [_shell_call(turn.run, asked)]
    if turn.edit is not None:
        return _edit_calls(turn.edit, asked)
    if turn.write is not None:
        return _write_calls(turn.write, asked)
    return []


def _shell_call(line: str, asked: Asked) -> tuple[Tool, Mapping[str, Any] | str]:
    if code := _find_code(asked):
        return code, _program("exec_command", {"cmd": line})
    tool = _find(asked, _SHELLS) or next((it for it in asked.tools if _key(it, _COMMAND_KEYS)), None)
    key = _key(tool, _COMMAND_KEYS) if tool else None
    if tool is None or key is None:
        raise CannotAnswerError(
            f"the agent offers no tool that runs commands: {', '.join(t.name for t in asked.tools)}"
        )
    listed = tool.properties[key].get("type") == "array"
    return tool, _filled(tool, {key: ["bash", "-lc", line] if listed else line})


def _edit_calls(edit: Edit, asked: Asked) -> Sequence[tuple[Tool, Mapping[str, Any] | str]]:
    if code := _find_code(asked):
        return [(code, _program(_PATCH, _update(edit)))]
    if tool := _find(asked, (_PATCH,)):
        return [(tool, _patch_arguments(tool, _update(edit)))]
    if tool := _find(asked, _EDITORS):
        path, old, new = _key(tool, _PATH_KEYS), _key(tool, _OLD_KEYS), _key(tool, _NEW_KEYS)
        if path and old and new:
            given = {path: _absolute(edit.path, asked), old: edit.old, new: edit.new}
            return [*_read_calls(edit.path, asked), (tool, _filled(tool, given))]
    return [_shell_call(_edit_line(edit), asked)]


def _write_calls(write: Write, asked: Asked) -> Sequence[tuple[Tool, Mapping[str, Any] | str]]:
    if code := _find_code(asked):
        return [(code, _program(_PATCH, _addition(write)))]
    if tool := _find(asked, (_PATCH,)):
        return [(tool, _patch_arguments(tool, _addition(write)))]
    if tool := _find(asked, _WRITERS):
        path, text = _key(tool, _PATH_KEYS), _key(tool, _TEXT_KEYS)
        if path and text:
            return [(tool, _filled(tool, {path: _absolute(write.path, asked), text: write.text}))]
    return [_shell_call(_write_line(write), asked)]


def _read_calls(path: str, asked: Asked) -> Sequence[tuple[Tool, Mapping[str, Any]]]:
    tool = _find(asked, _READERS)
    key = _key(tool, _PATH_KEYS) if tool else None
    return [(tool, _filled(tool, {key: _absolute(path, asked)}))] if tool and key else []


def _as_text(turn: Turn, asked: Asked) -> str:
    """For agents that read the model's prose."""
    if "*file listing*" in asked.text and (turn.edit is not None or turn.write is not None):
        return _listing(turn)
    if "SEARCH/REPLACE" in asked.text:
        if turn.edit is not None:
            return _search_replace(turn.edit.path, turn.edit.old, turn.edit.new)
        if turn.write is not None:
            return _search_replace(turn.write.path, "", turn.write.text)
    line = turn.run
    if turn.edit is not None:
        line = _edit_line(turn.edit)
    if turn.write is not None:
        line = _write_line(turn.write)
    language = "mswea_bash_command" if "mswea_bash_command" in asked.text else "bash"
    return f"```{language}\n{line}\n```"


def _listing(turn: Turn) -> str:
    """For aider with a model that it does not know: it takes whole files alone."""
    if turn.write is None:
        raise CannotAnswerError("this agent takes no edits, but whole files: let the script write one")
    return f"{turn.write.path}\n```\n{turn.write.text}```"


def _search_replace(path: str, old: str, new: str) -> str:
    before, after = (text if not text or text.endswith("\n") else f"{text}\n" for text in (old, new))
    return f"{path}\n```\n<<<<<<< SEARCH\n{before}=======\n{after}>>>>>>> REPLACE\n```"


def _find_code(asked: Asked) -> Tool | None:
    tool = _find(asked, (_CODE,))
    return tool if tool is not None and tool.free else None


def _program(function: str, argument: object) -> str:
    return f"text(await tools.{function}({json.dumps(argument)}));"


def _update(edit: Edit) -> str:
    lines = [*(f"-{line}" for line in edit.old.splitlines()), *(f"+{line}" for line in edit.new.splitlines())]
    return "\n".join(["*** Begin Patch", f"*** Update File: {edit.path}", "@@", *lines, "*** End Patch", ""])


def _addition(write: Write) -> str:
    lines = [f"+{line}" for line in write.text.splitlines()]
    return "\n".join(["*** Begin Patch", f"*** Add File: {write.path}", *lines, "*** End Patch", ""])


def _patch_arguments(tool: Tool, patch: str) -> Mapping[str, Any] | str:
    return patch if tool.free else _filled(tool, {_key(tool, ("input", "patch", "patchText")) or "input": patch})


def _edit_line(edit: Edit) -> str:
    """A command line that replaces a text literally, by bash alone, and fails when it is not there."""
    script = (
        'text=$(cat -- "$1" && echo x) || exit; text=${text%x}; [[ $text == *"$2"* ]] || exit 1; '
        'printf %s "${text/"$2"/"$3"}" >"$1"'
    )
    return shlex.join(["bash", "-c", script, "edit", edit.path, edit.old, edit.new])


def _write_line(write: Write) -> str:
    return f"printf %s {shlex.quote(write.text)} >{shlex.quote(write.path)}"


def _absolute(path: str, asked: Asked) -> str:
    return path if path.startswith("/") or asked.directory is None else f"{asked.directory}/{path}"


def _find(asked: Asked, names: Sequence[str]) -> Tool | None:
    by_name = {tool.name: tool for tool in asked.tools}
    return next((by_name[name] for name in names if name in by_name), None)


def _key(tool: Tool, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in tool.properties), None)


def _filled(tool: Tool, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Add what the tool asks for besides."""
    return {**filler(tool.schema, without=given), **given}


def filler(schema: Mapping[str, Any], *, without: Container[str] = ()) -> dict[str, Any]:
    """Return an object with what a schema requires, as plain as can be."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    return {key: _filler(properties.get(key, {})) for key in required if key not in without}


def _filler(schema: Mapping[str, Any]) -> object:
    if schema.get("enum"):
        return schema["enum"][0]
    match str(schema.get("type")).lower():
        case "boolean":
            return False
        case "number" | "integer":
            return 50
        case "array":
            return []
        case "object":
            return {}
        case _:
            return "as the script says"
