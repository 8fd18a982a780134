"""Reads what `aider --no-pretty --message` prints for people, as recorded from 0.86.2."""

import re
from collections.abc import Sequence

from cloister.model.agent_report import AgentFailed, AgentReport, FilesChanged, Message, Plain, TokensUsed
from cloister.protocols import AgentParser

_COUNT = r"([\d.,]{1,20}[kM]?)"
_TOKENS = re.compile(
    rf"Tokens: {_COUNT} sent,(?: {_COUNT} cache write,)?(?: {_COUNT} cache hit,)? {_COUNT} received\."
    r"(?: Cost: \$(\d{1,9}(?:\.\d{1,9})?) message, .*)?"
)
_APPLIED = re.compile(r"Applied edit to (.+)")
_FAILED = re.compile(r"litellm\.\w+: .*")
_NOTICES = re.compile(
    r"Aider v.*|Model: .*|Main model: .*|Weak model: .*|Editor model: .*|Git repo: .*|Repo-map: .*"
    r"|Added .* to the chat(?: \(read-only\))?\.|Commit [0-9a-f]{7,40} .*|Update git \w+ with: .*"
)
_WHOLE = re.compile(r"(?:Main )?[mM]odel: .* with whole edit format.*")
_SEARCH, _REPLACE, _FENCE = "<<<<<<< SEARCH", ">>>>>>> REPLACE", "```"
_UNITS = {"k": 1_000, "M": 1_000_000}
_MOST_LINES = 20_000


class AiderOutput:
    """`AgentParser` for aider. What comes before its count of tokens is the model's answer; edits are left out of it.

    It tells no commands; what a test of its own printed is plain.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._whole = False
        """Whether the model answers with whole files, of which aider shows what changes."""

    def feed(self, line: str) -> Sequence[AgentReport]:
        """See `protocols.AgentParser`."""
        if found := _TOKENS.fullmatch(line):
            said = _without_edits(_without_diffs(self._lines) if self._whole else self._lines)
            self._lines = []
            return [*([Message(text=said)] if said else []), _tokens(found)]
        if found := _APPLIED.fullmatch(line):
            return [*self.close(), FilesChanged(paths=(found[1],))]
        if _FAILED.fullmatch(line):
            return [*self.close(), AgentFailed(text=line)]
        if _NOTICES.fullmatch(line):
            self._whole = self._whole or _WHOLE.fullmatch(line) is not None
            return [*self.close(), Plain(text=line)]
        self._lines.append(line)
        return self.close() if len(self._lines) > _MOST_LINES else []

    def close(self) -> Sequence[AgentReport]:
        """What no count of tokens follows was no answer."""
        told, self._lines = [Plain(text=line) for line in self._lines], []
        return told


_: type[AgentParser] = AiderOutput


def _without_edits(lines: Sequence[str]) -> str:
    """Return the prose of an answer: a block to search and replace goes, with its fence and the path above it."""
    said: list[str] = []
    within = False
    for line in lines:
        if within:
            within = not line.startswith(_REPLACE)
        elif line.startswith(_SEARCH):
            within = True
            while said and said[-1].startswith(_FENCE):
                said.pop()
            if said:
                said.pop()
        else:
            said.append(line)
    text = "\n".join(said).strip()
    return text.removesuffix(_FENCE).rstrip() if text.count(_FENCE) % 2 else text


def _without_diffs(lines: Sequence[str]) -> list[str]:
    """Leave out the changes that aider shows, each in a fence of its own below the path of its file."""
    said: list[str] = []
    within = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if within:
            within = line != _FENCE
        elif line == f"{_FENCE}diff" and following.startswith("@@ "):
            within = True
            while said and not said[-1]:
                said.pop()
            if said:
                said.pop()
        else:
            said.append(line)
    return said


def _tokens(found: re.Match[str]) -> TokensUsed:
    return TokensUsed(
        input_tokens=_count(found[1]),
        cached_input_tokens=_count(found[3]),
        output_tokens=_count(found[4]),
        cost=float(found[5]) if found[5] else None,
    )


def _count(text: str | None) -> int:
    """Return `1.9k` as 1900."""
    if not text:
        return 0
    try:
        return round(float(text.rstrip("kM").replace(",", "")) * _UNITS.get(text[-1], 1))
    except ValueError:
        return 0
