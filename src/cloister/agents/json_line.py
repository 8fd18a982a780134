"""Reads what parsers of agents' output are made of: objects of JSON, one a line, by whoever wrote them."""

import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from cloister.model.agent_report import AgentReport, Plain

Fields = Mapping[str, object]

_SHELLS = ("bash", "sh", "zsh", "/bin/bash", "/bin/sh", "/bin/zsh", "/usr/bin/bash")
_MOST_DOLLARS = 1e9
_SHELL_OPTIONS = ("-c", "-lc")


def read_object(line: str) -> Fields | None:
    """Return the object that a line is; None when it is none."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


class ObjectLines(ABC):
    """`AgentParser` of a program that prints an object a line; who knows the program says what its objects report."""

    def feed(self, line: str) -> Sequence[AgentReport]:
        """See `protocols.AgentParser`."""
        told = read_object(line)
        reports = self.read(told) if told is not None else None
        return [Plain(text=line)] if reports is None else reports

    def close(self) -> Sequence[AgentReport]:
        """Every line is whole."""
        return []

    @abstractmethod
    def read(self, told: Fields) -> Sequence[AgentReport] | None:
        """Return what an object reports; None for one that is not understood, which is told as it is."""


def text_in(fields: object, *keys: str) -> str:
    """Return the first of these fields that is a text with something in it; empty when none is."""
    if not isinstance(fields, dict):
        return ""
    return next((value for key in keys if isinstance(value := fields.get(key), str) and value), "")


def number_in(fields: object, *keys: str) -> int:
    """Return the first of these fields that is a whole number; 0 when none is."""
    return _whole(fields, *keys) or 0


def find_status(fields: object, *keys: str) -> int | None:
    """Return the first of these fields that is a whole number; None when none is."""
    return _whole(fields, *keys)


def find_cost(fields: object, key: str) -> float | None:
    """Return a field that is an amount of dollars; None when it is none, or nothing."""
    match fields:
        case {**found} if isinstance(value := found.get(key), int | float) and not isinstance(value, bool):
            return float(value) if 0 < value < _MOST_DOLLARS else None
    return None


def objects_in(value: object) -> Sequence[Fields]:
    """Return the objects of a list; none when it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def short_json(value: object) -> str:
    """Return a value as one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def without_shell(command_line: str) -> str:
    """Return the command line that a shell was given, without the shell around it."""
    try:
        words = shlex.split(command_line)
    except ValueError:
        return command_line
    match words:
        case [shell, option, inner] if shell in _SHELLS and option in _SHELL_OPTIONS:
            return inner
    return command_line


def _whole(fields: object, *keys: str) -> int | None:
    if not isinstance(fields, dict):
        return None
    found = (fields.get(key) for key in keys)
    return next((value for value in found if isinstance(value, int) and not isinstance(value, bool)), None)
