"""What a forge is told of an attempt's checks. Pure: what a check printed is shown as its words."""

from collections.abc import Mapping, Sequence

from cloister.annotations import find_annotations
from cloister.model.check import CheckResult, ChecksState, state_of
from cloister.model.check_report import (
    LONGEST_REPORT_TEXT,
    MOST_ANNOTATIONS,
    Annotation,
    CheckReport,
    Conclusion,
)
from cloister.model.sandbox import Commit
from cloister.neutral_text import fence_of, neutralize
from cloister.pull_request_text import as_quoted

_CONCLUSIONS = {
    ChecksState.PASSED: Conclusion.SUCCESS,
    ChecksState.FAILED: Conclusion.FAILURE,
    ChecksState.NOT_RUN: Conclusion.NEUTRAL,
}


def annotations_of(checks: Sequence[CheckResult], *, work_tree: str) -> Sequence[Annotation]:
    """Return the places that the checks which failed name, whether there are such files or not."""
    return [
        it
        for check in checks
        if not check.ok
        for it in find_annotations(check.last_words, check=neutralize(check.name), work_tree=work_tree)
    ]


def running(commit: Commit, *, id: str, address: str | None) -> CheckReport:
    """Return what is told while the results are on their way."""
    return CheckReport(commit=commit, id=id, address=address, title="The checks of the clean room")


def finished(
    commit: Commit,
    checks: Sequence[CheckResult],
    *,
    id: str,
    address: str | None,
    annotations: Sequence[Annotation],
    others: Mapping[int, Sequence[CheckResult]] | None = None,
) -> CheckReport:
    """Return what is told of results; `others` are those of attempts of the same turn that were not pushed."""
    state = state_of(checks)
    more = len(annotations) - MOST_ANNOTATIONS
    note = f"\n\n{more} more places are named than are shown." if more > 0 else ""
    return CheckReport(
        commit=commit,
        id=id,
        address=address,
        conclusion=_CONCLUSIONS[state],
        title=_counted(checks),
        summary=f"{_summary(checks)}{note}{_others(others or {})}"[:LONGEST_REPORT_TEXT],
        text=_text(checks),
        annotations=tuple(annotations[:MOST_ANNOTATIONS]),
    )


def _summary(checks: Sequence[CheckResult]) -> str:
    rows = [f"| {_cell(it.name)} | {_ended(it)} | {it.seconds:.1f} s |" for it in checks]
    notes = [f"- {_cell(it.name)}: {_cell(note)}" for it in checks for note in it.notes]
    table = ["| check | | |", "|---|---|---|", *rows] if rows else []
    begin = "The change alone, in a clean room: the agent was never there, and the network is off."
    return "\n".join([begin, "", *table, *([""] if notes else []), *notes])


def _others(others: Mapping[int, Sequence[CheckResult]]) -> str:
    lines = [f"- attempt {number}: {_counted(checks)}" for number, checks in others.items()]
    return "\n".join(["", "", "Other attempts, which were not pushed:", "", *lines]) if lines else ""


def _counted(checks: Sequence[CheckResult]) -> str:
    return f"{sum(check.ok for check in checks)} of {len(checks)} checks passed" if checks else "No check ran"


def _text(checks: Sequence[CheckResult]) -> str:
    parts = []
    for check in checks:
        if check.last_words.strip():
            words = neutralize(check.last_words).strip("\n")
            fence = fence_of(words)
            parts.append(f"### {_cell(check.name)}\n\n{fence}\n{words}\n{fence}")
    room, kept = LONGEST_REPORT_TEXT, []
    for part in parts:
        if len(part) + 100 > room:
            kept.append("The task has the rest.")
            break
        kept.append(part)
        room -= len(part) + 2
    return "\n\n".join(kept)


def _ended(check: CheckResult) -> str:
    if check.ok:
        return "passed" + (", only when it was run once more" if check.flaky else "")
    return f"**failed**: {_cell(check.reason)}"


def _cell(text: str) -> str:
    return as_quoted(" ".join(neutralize(text).split())).replace("|", "\\|")
