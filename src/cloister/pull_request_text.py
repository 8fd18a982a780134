"""What commits and pull requests say. Pure: what an agent wrote is shown as its words, and does nothing by itself.

Of a pull request's text Cloister owns one section, between two comments; what people write around it stays.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from cloister.model.check import CheckResult
from cloister.model.diff import changed_paths
from cloister.model.flag import Flag
from cloister.model.sandbox import Change
from cloister.model.thread_context import words_of
from cloister.neutral_text import neutralize, neutralize_line

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LONGEST_TITLE = 100
LONGEST_BODY = 60_000
"""Characters; GitHub takes 65,536 of a pull request, and people want to add theirs."""
BEGIN, END = "<!-- cloister: this section is written anew with every change -->", "<!-- cloister: end -->"
TEMPLATES = tuple(
    f"{folder}{name}"
    for folder in (".github/", "", "docs/")
    for name in ("pull_request_template.md", "PULL_REQUEST_TEMPLATE.md")
)
"""Where GitHub looks for a repository's template (`Creating a pull request template`)."""

_MOST_FILES, _MOST_FLAGS, _LONGEST_PROMPT = 50, 20, 4_000
_LONGEST_TEMPLATE = 20_000
_LONGEST_CONVERSATION, _LONGEST_CELL, _LONGEST_PATH, _MOST_CHECKS = 20_000, 300, 200, 40
_EVIDENCE = "\n\n| | |\n|---|---|\n"
_CUT = "(cut: the task has it all)"
_SECTION = re.compile(rf"{re.escape(BEGIN)}.*?(?:{re.escape(END)}|\Z)", re.DOTALL)
_MENTION = re.compile(r"@(?=[A-Za-z0-9])")
_CLOSING = re.compile(
    r"\b(close[sd]?|fix(?:e[sd])?|resolve[sd]?)(?=:?\s+(?:[\w./-]*#\d|https?://|GH-\d))", re.IGNORECASE
)
"""GitHub's words that close an issue when a pull request is merged (`Linking a pull request to an issue`)."""
_FENCE = re.compile(r"^(`{3}|~{3})")
_CLOSING_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*")
_ROOM_OF_FENCE = 200
"""One that closes a block is as long as the one that opened it; a longer one stays open."""
_UNSEEN = "\N{ZERO WIDTH NON-JOINER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A prompt, and what was answered."""

    prompt: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a pull request tells of a task."""

    task: str
    address: str | None
    """Of the task's page; None where the server is not known by one."""
    agent: str
    model: str | None
    conversation: tuple[Said, ...]
    """From the first prompt on."""
    change: Change
    checks: tuple[CheckResult, ...]
    network: tuple[str, ...]
    """One line a phase."""
    secrets: tuple[str, ...]
    """One line a phase; names alone."""
    record: str | None
    """SHA-256 of the signed record; None where there is none."""
    others: Mapping[int, tuple[CheckResult, ...]] = field(default_factory=dict)
    """What checks said of other attempts of the same turn, by their numbers."""
    conflicts: tuple[str, ...] = ()
    failure: str | None = None
    """How the attempt ended, where that is no success."""
    reference: str = ""
    """Of the issue that it was asked for in, such as `#12`."""


def title_of(facts: Facts) -> str:
    """Return one line out of the first prompt: what the whole change is for, whatever was said last."""
    first = next((line for line in facts.conversation[0].prompt.splitlines() if line.strip()), "")
    line = " ".join(_quiet(neutralize_line(first)).split()) or f"Task {facts.task}"
    line = line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1].rsplit(' ', 1)[0]}…"
    return line[:1].upper() + line[1:]


def commit_message_of(facts: Facts, prompt: str) -> str:
    """Return the message of a commit: what was asked for with it, and who did it."""
    last = Said(prompt=prompt, message="")
    title = title_of(replace(facts, conversation=(last,)))
    where = f"\nCloister-Task: {facts.address or facts.task}"
    record = f"\nCloister-Record: sha256:{facts.record}" if facts.record else ""
    author = re.sub(r"[^a-z0-9-]", "-", facts.agent.lower())
    return f"{title}\n{where}{record}\nCo-authored-by: {facts.agent} (Cloister) <{author}@cloister.invalid>\n"


def section_of(facts: Facts) -> str:
    """Return Cloister's section of the text: from the whole change and the whole conversation."""
    parts = [
        *([f"Asked for in {facts.reference}."] if facts.reference else []),
        _conversation(facts),
        *([_conflicts(facts.conflicts)] if facts.conflicts else []),
        _changes(facts.change),
        *([_flags(facts.change.flags)] if facts.change.flags else []),
        _evidence(facts),
    ]
    text = "\n\n".join(parts)
    return _within(f"{BEGIN}\n{text}\n{END}", LONGEST_BODY)


def body_with(section: str, existing: str | None, template: str) -> str:
    """Return a pull request's text: a new one has the template above the section, in another the former is replaced.

    One whose section a person took out gets none.
    """
    if existing is None:
        template = _cut(template.rstrip(), _LONGEST_TEMPLATE)
        above = f"{template}\n\n" if template.strip() else ""
        return f"{above}{_within(section, LONGEST_BODY - len(above))}"
    former = _SECTION.search(existing)
    if former is None:
        return existing
    room = LONGEST_BODY - len(existing) + len(former[0])
    return f"{existing[: former.start()]}{_within(section, room)}{existing[former.end() :]}"


def _within(section: str, room: int) -> str:
    """Return the section in so many characters: it keeps its two comments, and its evidence where there is room."""
    if len(section) <= room:
        return section
    _, mark, evidence = section.rpartition(_EVIDENCE)
    end = f"\n\n{_CUT}{mark}{evidence}"
    if len(BEGIN) + len(end) > room:
        end = f"\n\n{_CUT}\n{END}"
    kept = section[: max(len(BEGIN), room - len(end) - _ROOM_OF_FENCE)]
    fence = _left_open(kept)
    return f"{kept}\n{fence}{end}" if fence else f"{kept}{end}"


def quoted_within(text: str, most: int) -> str:
    """Return `as_quoted` in so many characters: what is too long is cut before, since that makes a text longer."""
    kept, shown = text[:most], as_quoted(text) if len(text) <= most else None
    while shown is None or len(shown) > most:
        if shown is not None:
            kept = kept[: max(0, len(kept) * most // len(shown) - len(_CUT))]
        if not kept:
            return _CUT
        shown = as_quoted(f"{kept}\n{_CUT}")
    return shown


def as_quoted(text: str) -> str:
    """Return what somebody wrote so that it calls nobody, closes nothing, loads nothing and ends nothing of ours.

    Only what CommonMark takes for a block of code, at the outermost level, is left as it is. A block that is left open
    is closed.
    """
    lines = [_quiet(line) for line in neutralize(text).replace("<!--", "&lt;!--").split("\n")]
    kept = [line.replace("![", "!\\[").replace("<", "&lt;") for line in lines]
    if len(kept) == 1:  # it may stand behind words of ours, or in a list, where a fence below it would be another one
        return _FENCE.sub(r"\\\1", kept[0].strip())
    for begin, end in _code_in(kept):
        kept[begin:end] = lines[begin:end]
    shown = "\n".join(kept).strip()
    fence = _left_open(shown)
    return f"{shown}\n{fence}" if fence else shown


def _code_in(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Return from which line to which there is code between fences, in no list and no quotation."""
    for token in _fences("\n".join(lines)):
        if token.map is not None:
            begin, end = token.map
            yield begin + 1, end


def _left_open(text: str) -> str:
    """Return the fence of the last block of code, when nothing ends it; one in a list ends with the list."""
    lines = text.split("\n")
    last = next(reversed(_fences(text)), None)
    if last is None or last.map is None or last.map[1] < len(lines):
        return ""
    closing = _CLOSING_FENCE.fullmatch(lines[-1])
    is_closed = last.map[1] - last.map[0] > 1 and closing is not None and closing[1].startswith(last.markup)
    return "" if is_closed else last.markup


def _fences(text: str) -> "Sequence[Token]":
    return [it for it in _markdown().parse(text) if it.type == "fence" and it.level == 0]


@cache
def _markdown() -> "MarkdownIt":
    from markdown_it import MarkdownIt  # takes a while to load

    return MarkdownIt("commonmark").disable("inline")


def _quiet(text: str) -> str:
    return _CLOSING.sub(rf"\1{_UNSEEN}", _MENTION.sub(f"@{_UNSEEN}", text))


def _conversation(facts: Facts) -> str:
    parts, share = [], _LONGEST_CONVERSATION // len(facts.conversation)
    for said in facts.conversation:
        asked = as_quoted(_cut(words_of(said.prompt), min(_LONGEST_PROMPT, share)))
        parts.append("\n".join(f"> {line}" for line in asked.splitlines()))
        if said.message.strip():
            parts.append(quoted_within(said.message, share))
    return "\n\n".join(parts)


def _changes(change: Change) -> str:
    paths = list(change.paths) or changed_paths(change.diff)
    stats = change.stats
    head = f"**{stats.files} file{'s' * (stats.files != 1)} changed**, +{stats.added} -{stats.removed}"
    shown = [f"- {_code(path)}" for path in paths[:_MOST_FILES]]
    more = [f"- and {len(paths) - _MOST_FILES} more"] if len(paths) > _MOST_FILES else []
    return "\n".join([head, "", *shown, *more])


def _flags(flags: Sequence[Flag]) -> str:
    shown = [f"- {_quiet(quoted_within(neutralize_line(str(flag)), _LONGEST_CELL))}" for flag in flags[:_MOST_FLAGS]]
    return "\n".join(["**Look twice at**", "", *shown])


def _conflicts(paths: Sequence[str]) -> str:
    shown = [f"- {_code(path)}" for path in paths[:_MOST_FILES]]
    return "\n".join(["**The base has moved on otherwise** in these files, so a person has to merge:", "", *shown])


def _evidence(facts: Facts) -> str:
    more = len(facts.checks) - _MOST_CHECKS
    rows = [
        *([f"| **result** | {_cell(facts.failure)} |"] if facts.failure else []),
        *(f"| check {_cell(check.name)} | {_ending(check)} |" for check in _failed_first(facts.checks)[:_MOST_CHECKS]),
        *([f"| checks | and {more} more |"] if more > 0 else []),
        *([] if facts.checks else ["| checks | none were run |"]),
        *(f"| network | {_cell(line)} |" for line in facts.network),
        *(f"| secrets | {_cell(line)} |" for line in facts.secrets or ("none",)),
        f"| agent | {_cell(facts.agent)}{f', {_cell(facts.model)}' if facts.model else ''} |",
        f"| record | {f'`sha256:{facts.record}`' if facts.record else 'none'} |",
        f"| task | {facts.address or _cell(facts.task)} |",
    ]
    return "\n".join(["| | |", "|---|---|", *rows])


def _failed_first(checks: Sequence[CheckResult]) -> Sequence[CheckResult]:
    """Return them in their order, unless some could not be shown."""
    return checks if len(checks) <= _MOST_CHECKS else sorted(checks, key=lambda check: check.ok)


def _ending(check: CheckResult) -> str:
    if check.ok:
        return "passed" + (", only when it was run once more" if check.flaky else "")
    return f"**failed**: {_cell(check.reason)}"


def _cell(text: str) -> str:
    return (
        _cut_line(_quiet(neutralize_line(text)), _LONGEST_CELL)
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("`", "'")
    )


def _code(path: str) -> str:
    """Write a path as code, whatever is in it."""
    text = neutralize_line(path).replace("`", "'")
    return f"`{_cut_line(text, _LONGEST_PATH)}`"


def _cut_line(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n(cut)"
