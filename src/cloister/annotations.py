"""Finds the places in a repository that a check's output names.

Each pattern is a problem matcher as editors and forges have them: a regular expression for a line, with `file`, `line`
and `message`, and sometimes `severity`; one that says no message takes that of the line before.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from cloister.model.check_report import Annotation, AnnotationLevel
from cloister.neutral_text import neutralize

LONGEST_MESSAGE = 1000
"""Characters of a message."""
_LONGEST_LINE = 2000
"""Characters of a line that is looked at."""
_FILE = r"(?P<file>[^\s:()\[\]\"'|<>]+\.\w+)"
_MATCHERS: Sequence[re.Pattern[str]] = [
    re.compile(pattern)
    for pattern in (
        # GitHub's own workflow commands: many tools print them when they are asked to.
        r"^::(?P<severity>error|warning|notice) (?:[^:]*,)?file=(?P<file>[^,:]+),(?:[^:]*,)?line=(?P<line>\d+)"
        r"[^:]*::(?P<message>.+)$",
        # gcc, clang, mypy, shellcheck -f gcc: path:line[:column]: severity: message
        rf"^{_FILE}:(?P<line>\d+)(?::\d+)?: (?P<severity>fatal error|error|warning|note|info): (?P<message>.+)$",
        # ruff (concise), flake8, go vet, eslint -f unix, pytest's short form: path:line[:column]: message
        rf"^\s*{_FILE}:(?P<line>\d+)(?::\d+)?: (?P<message>.+)$",
        # tsc, msbuild: path(line,column): severity CODE: message
        rf"^{_FILE}\((?P<line>\d+),\d+\): (?P<severity>error|warning) (?P<message>.+)$",
        # rustc, cargo, ruff (full): an arrow below the message
        rf"^\s*--> {_FILE}:(?P<line>\d+):\d+$",
        # Python's tracebacks
        r"^\s*File \"(?P<file>[^\"]+)\", line (?P<line>\d+)(?:, in .*)?$",
        # node's and jest's stacks
        rf"^\s*at .*\(?{_FILE}:(?P<line>\d+):\d+\)?$",
    )
]
_LEVELS = {
    "warning": AnnotationLevel.WARNING,
    "notice": AnnotationLevel.NOTICE,
    "note": AnnotationLevel.NOTICE,
    "info": AnnotationLevel.NOTICE,
}


def find_annotations(output: str, *, check: str, work_tree: str) -> Iterator[Annotation]:
    """Yield the places that a check's output names, each once, in its order; paths are as from the repository's root.

    Whether there are such files is for the caller to find out.
    """
    seen: set[Annotation] = set()
    before = ""
    for raw in output.splitlines():
        line = neutralize(raw[:_LONGEST_LINE]).rstrip()
        found = _match(line, before, check, work_tree)
        before = line.strip() or before
        if found is not None and found not in seen:
            seen.add(found)
            yield found


def _match(line: str, before: str, check: str, work_tree: str) -> Annotation | None:
    match = next((found for matcher in _MATCHERS if (found := matcher.match(line))), None)
    if match is None:
        return None
    said = match.groupdict()
    path, number = _relative(said["file"], work_tree), int(said["line"][:9])
    if path is None or number < 1:
        return None
    message = (said.get("message") or before or "here").strip()
    level = _LEVELS.get(said.get("severity") or "", AnnotationLevel.FAILURE)
    return Annotation(path=path, line=number, level=level, message=message[:LONGEST_MESSAGE], title=check)


def _relative(path: str, work_tree: str) -> str | None:
    """Return the path from the root of the repository; None for what is elsewhere."""
    place = PurePosixPath(path.strip())
    if place.is_absolute():
        if not place.is_relative_to(work_tree):
            return None
        place = place.relative_to(work_tree)
    return None if ".." in place.parts or not place.parts else str(place)
