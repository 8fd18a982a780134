"""What an agent wrote of its findings."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import TaskFailedError
from cloister.model.finding import FindingPriority, Side
from cloister.review_file import read_review


def finding(**more: object) -> dict[str, Any]:
    return {"path": "src/shop.py", "line": 5, "priority": "P1", "title": "An empty shop costs None", **more}


def file(*findings: dict[str, Any]) -> bytes:
    return json.dumps({"findings": findings}).encode()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"{", "cannot be used: Invalid JSON"),
        (b"[]", "cannot be used"),
        (b"{}", "findings: Field required"),
        (b'{"findings": [], "event": "APPROVE"}', "event: Extra inputs are not permitted"),
        (file(finding(line=0)), "findings[0].line: Input should be greater than"),
        (file(finding(line="5")), "findings[0].line: Input should be a valid integer"),
        (file(finding(line=True)), "findings[0].line"),
        (file(finding(start_line=6)), "findings[0]: start_line is behind line"),
        (file(finding(path="../x")), "findings[0].path"),
        (file(finding(path="/etc/passwd")), "findings[0].path"),
        (file(finding(path="a/./b")), "findings[0].path"),
        (file(finding(path="a\nb")), "findings[0].path"),
        (file(finding(side="BOTH")), "findings[0].side"),
        (file(finding(priority="P9")), "findings[0].priority"),
        (file(finding(title="  ")), "findings[0].title"),
        (file(finding(title="x" * 201)), "findings[0].title"),
        (file(finding(body="x" * 8001)), "findings[0].body"),
        (file(finding(suggestion={"new": "x"})), "findings[0].suggestion.old: Field required"),
        (file(*[finding() for _ in range(201)]), "findings: List should have at most 200 items"),
        (file(finding(line=0), finding(line=0), finding(line=0), finding(line=0)), "; and 1 more"),
        (b'{"findings": [], "summary": "\\ud800"}', "cannot be used"),
        (b" " * (1 << 20), "it has 1 MiB or more"),
        (None, "there is no /cloister/out/review.json"),
    ],
)
def test_what_cannot_be_used_is_said(raw: bytes | None, told: str) -> None:
    with pytest.raises(TaskFailedError) as caught:
        read_review(raw, lowest=FindingPriority.P1)
    assert told in str(caught.value)


def test_what_matters_most_comes_first_and_the_rest_is_counted() -> None:
    raw = file(finding(priority="P2"), finding(line=9), finding(), finding(priority="P0", side="LEFT", start_line=5))
    review = read_review(raw, lowest=FindingPriority.P1)
    assert [(it.priority, it.line) for it in review.findings] == [("P0", 5), ("P1", 5), ("P1", 9)]
    assert (review.findings[0].side, review.findings[0].start_line) == (Side.LEFT, None)
    assert review.left_out == 1
    assert len(read_review(raw, lowest=FindingPriority.P2).findings) == 4


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_whatever_it_is_it_is_read_or_refused(raw: bytes) -> None:
    try:
        read_review(raw, lowest=FindingPriority.P3)
    except TaskFailedError:
        return
