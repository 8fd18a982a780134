"""Reads what `mini` of mini-swe-agent prints for people, as recorded from 2.4.6: sections, each under its head.

It is to be run with many COLUMNS, or long lines come broken.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto

from cloister.agents.commands_run import CommandsRun
from cloister.model.agent_report import AgentFailed, AgentReport, Message, Plain
from cloister.protocols import AgentParser

_STEP = re.compile(r"mini-swe-agent \(step \d+, \$[\d.]+\):")
_RULE = re.compile(r"─{8,}")
_STATUS = re.compile(r"-?\d{1,9}")
_FENCE = "```"
_ENDING = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
_SAVED = "Saved trajectory to "
_MOST_LINES = 20_000
"""Of one section; a longer one is told as it is, for it is none of the program's."""


class _Section(Enum):
    PROMPT = auto()
    BETWEEN = auto()
    WORDS = auto()
    RESULT = auto()
    END = auto()


class MiniSweAgentOutput:
    """`AgentParser` for mini-swe-agent. A command is told when it is over; of the prompt, nothing."""

    def __init__(self) -> None:
        self._commands = CommandsRun()
        self._section = _Section.PROMPT
        self._lines: list[str] = []
        self._waiting: list[str] = []
        """Command lines whose results have not come."""
        self._count = 0
        self._submitted = False

    def feed(self, line: str) -> Sequence[AgentReport]:
        """See `protocols.AgentParser`."""
        follows = self._head(line.rstrip())
        if follows is not None:
            told = [] if self._section is _Section.PROMPT else self._end()
            self._section, self._lines = follows, []
            return told
        if self._section is _Section.BETWEEN:
            return [Plain(text=line)]
        self._lines.append(line)
        if len(self._lines) > _MOST_LINES:
            told, self._lines = [Plain(text=text) for text in self._lines], []
            return told
        return []

    def close(self) -> Sequence[AgentReport]:
        """The last section has no other end. What has no step was no work, and is told as it is."""
        told = [Plain(text=text) for text in self._lines] if self._section is _Section.PROMPT else self._end()
        begun = [report for line in self._waiting for report in self._commands.start(self._next(), line)]
        self._section, self._lines, self._waiting = _Section.BETWEEN, [], []
        return [*told, *begun]

    def _head(self, line: str) -> _Section | None:
        """Which section begins with this line."""
        if _STEP.fullmatch(line):
            return _Section.WORDS
        if _RULE.fullmatch(line):
            return _Section.BETWEEN
        if line == "Tool:" and self._section in (_Section.WORDS, _Section.RESULT):
            return _Section.RESULT
        if line == "Exit:" and self._section is not _Section.PROMPT:
            return _Section.END
        return None

    def _end(self) -> Sequence[AgentReport]:
        match self._section:
            case _Section.WORDS:
                return self._words()
            case _Section.RESULT:
                return self._result()
            case _Section.END:
                return self._exit()
            case _:
                return []

    def _words(self) -> Sequence[AgentReport]:
        text, commands = _parted(self._lines)
        self._submitted = _ENDING in commands
        self._waiting = [line for line in commands if line != _ENDING]
        return [Message(text=text)] if text else []

    def _result(self) -> Sequence[AgentReport]:
        if not self._waiting:
            return [] if self._submitted else [Plain(text=text) for text in self._lines]
        line = self._waiting.pop(0)
        status, output = _observed(self._lines)
        return self._commands.finish(self._next(), line, output, status)

    def _next(self) -> str:
        self._count += 1
        return str(self._count)

    def _exit(self) -> Sequence[AgentReport]:
        said = "\n".join(line for line in self._lines if not line.startswith(_SAVED)).strip()
        if not said:
            return []
        return [Message(text=said) if self._submitted else AgentFailed(text=said)]


_: type[AgentParser] = MiniSweAgentOutput


def _parted(lines: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the words and the commands of a step. A command stands between bare fences, and may hold some."""
    words: list[str] = []
    commands: list[str] = []
    command: list[str] | None = None
    quoted = False
    for number, line in enumerate(lines):
        if command is None and (quoted or line != _FENCE):
            quoted = line != _FENCE if quoted else line.startswith(_FENCE)
            words.append(line)
        elif command is None:
            command = []
        elif line == _FENCE and _closes(lines[number + 1 :]):
            commands.append("\n".join(command))
            command = None
        else:
            command.append(line)
    return "\n".join([*words, *(command or ())]).strip(), commands


def _closes(after: Sequence[str]) -> bool:
    """Whether a fence before these lines is a command's end: nothing comes after it, or another command."""
    rest = [line for line in after if line.strip()]
    return not rest or (rest[0] == _FENCE and not after[0].strip())


def _observed(lines: Sequence[str]) -> tuple[int | None, str]:
    status = None
    if len(lines) > 1 and lines[0] == "<returncode>" and _STATUS.fullmatch(lines[1]):
        status, lines = int(lines[1]), lines[2:]
    if lines and lines[0] == "<output>":
        lines = lines[1:]
    return status, "\n".join(lines).strip("\n")
