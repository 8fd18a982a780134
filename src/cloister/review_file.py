"""Reads what an agent wrote to `/cloister/out/review.json`: as described in the reference, or not at all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from cloister.errors import TaskFailedError
from cloister.model.finding import PRIORITIES, Finding, FindingPriority, Side, Suggestion
from cloister.model.review import REVIEW_FILE, Review

LARGEST_REVIEW_BYTES = 1024 * 1024
MOST_FINDINGS = 200
_MOST_SHOWN = 3
_HIGHEST_LINE = 10_000_000

_Line = Annotated[int, Field(ge=1, le=_HIGHEST_LINE)]
_Path = Annotated[
    str, StringConstraints(min_length=1, max_length=1024, pattern=r"^(?!/)(?!.*(?:^|/)\.\.?(?:/|$))[^\x00-\x1f]+$")
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, regex_engine="python-re")


class _Suggestion(_Part):
    old: Annotated[str, Field(max_length=8000)]
    new: Annotated[str, Field(max_length=8000)]


class _Finding(_Part):
    path: _Path
    line: _Line
    start_line: _Line | None = None
    side: Annotated[Side, Field(strict=False)] = Side.RIGHT
    priority: Annotated[FindingPriority, Field(strict=False)]
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
    body: Annotated[str, Field(max_length=8000)] = ""
    suggestion: _Suggestion | None = None


class _File(_Part):
    findings: Annotated[list[_Finding], Field(max_length=MOST_FINDINGS)]
    summary: Annotated[str, Field(max_length=8000)] = ""


_READER = TypeAdapter(_File)


def read_review(raw: bytes | None, *, lowest: FindingPriority) -> Review:
    """Return the findings that matter, the weightiest first. TaskFailedError for a file that cannot be used."""
    if raw is None:
        raise TaskFailedError(
            f"the agent left no findings: there is no {REVIEW_FILE}",
            hint='even who finds nothing writes it: {"findings": []}',
        )
    if len(raw) >= LARGEST_REVIEW_BYTES:
        raise TaskFailedError(f"{REVIEW_FILE} cannot be used: it has {LARGEST_REVIEW_BYTES >> 20} MiB or more")
    try:
        file = _READER.validate_json(raw)
    except ValidationError as error:
        problems = [f"{_place(it['loc'])}{it['msg']}" for it in error.errors(include_url=False, include_input=False)]
        more = f"; and {len(problems) - _MOST_SHOWN} more" if len(problems) > _MOST_SHOWN else ""
        raise TaskFailedError(f"{REVIEW_FILE} cannot be used: {'; '.join(problems[:_MOST_SHOWN])}{more}") from error
    for number, finding in enumerate(file.findings):
        if finding.start_line is not None and finding.start_line > finding.line:
            raise TaskFailedError(f"{REVIEW_FILE} cannot be used: findings[{number}]: start_line is behind line")
    findings = [_to_finding(it) for it in file.findings]
    kept = [it for it in findings if PRIORITIES[it.priority] <= PRIORITIES[lowest]]
    kept.sort(key=lambda it: (PRIORITIES[it.priority], it.path, it.line))
    return Review(findings=tuple(kept), summary=file.summary, left_out=len(findings) - len(kept))


def masked(review: Review, mask: Callable[[str], str]) -> Review:
    """Return the review with each of its texts masked."""
    return replace(
        review,
        summary=mask(review.summary),
        findings=tuple(
            replace(
                it,
                path=mask(it.path),
                title=mask(it.title),
                body=mask(it.body),
                suggestion=None if it.suggestion is None else _masked(it.suggestion, mask),
            )
            for it in review.findings
        ),
    )


def _masked(suggestion: Suggestion, mask: Callable[[str], str]) -> Suggestion:
    return Suggestion(old=mask(suggestion.old), new=mask(suggestion.new))


def _to_finding(read: _Finding) -> Finding:
    suggestion = None if read.suggestion is None else Suggestion(old=read.suggestion.old, new=read.suggestion.new)
    return Finding(
        path=read.path,
        line=read.line,
        start_line=read.start_line if read.start_line != read.line else None,
        side=read.side,
        priority=read.priority,
        title=" ".join(read.title.split()),
        body=read.body.strip(),
        suggestion=suggestion,
    )


def _place(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return f"{text}: " if text else ""
