"""Places that the output of checks names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.annotations import find_annotations
from cloister.model.check_report import AnnotationLevel

TREE = "/workspace/shop"


def found(output: str) -> list[tuple[str, int, str]]:
    return [(it.path, it.line, it.message) for it in find_annotations(output, check="test", work_tree=TREE)]


@pytest.mark.parametrize(
    ("output", "place"),
    [
        ("a.py:3:5: F401 `os` imported but unused", ("a.py", 3, "F401 `os` imported but unused")),
        (
            "src/a.py:3: error: Name is not defined  [name-defined]",
            ("src/a.py", 3, "Name is not defined  [name-defined]"),
        ),
        ("tests/test_a.py:7: AssertionError", ("tests/test_a.py", 7, "AssertionError")),
        ("    a_test.go:12: got 1, want 2", ("a_test.go", 12, "got 1, want 2")),
        ("main.c:4:1: fatal error: no such file", ("main.c", 4, "no such file")),
        ("src/a.ts(8,3): error TS2304: Cannot find name", ("src/a.ts", 8, "TS2304: Cannot find name")),
        (
            "error[E0425]: cannot find value\n --> src/main.rs:2:5",
            ("src/main.rs", 2, "error[E0425]: cannot find value"),
        ),
        (f'boom\n  File "{TREE}/a.py", line 9, in f', ("a.py", 9, "boom")),
        (f"Error: no\n    at f ({TREE}/a.js:3:9)", ("a.js", 3, "Error: no")),
        ("::error file=a.js,line=1,col=5::Missing semicolon", ("a.js", 1, "Missing semicolon")),
        ("\x1b[31ma.py:3: bad\x1b[0m", ("a.py", 3, "bad")),
    ],
)
def test_a_place_is_found(output: str, place: tuple[str, int, str]) -> None:
    assert found(output) == [place]


@pytest.mark.parametrize(
    "output",
    [
        'File "/usr/lib/python3.11/unittest.py", line 3',
        "../../etc/passwd.txt:1: root",
        "/workspace/shop/../other/a.py:1: x",
        "a.py:0: nothing",
        "12:30: a time",
        "passed in 3.2s",
        "http://example.com:80: x",
    ],
)
def test_what_is_no_place_of_the_repository_is_left_out(output: str) -> None:
    assert found(output) == []


def test_a_place_is_named_once_and_knows_how_much_it_matters() -> None:
    output = "a.py:3: warning: w\na.py:3: warning: w\na.py:4: error: e\na.py:5: note: n\n"
    levels = [(it.line, it.level) for it in find_annotations(output, check="lint", work_tree=TREE)]
    assert levels == [(3, AnnotationLevel.WARNING), (4, AnnotationLevel.FAILURE), (5, AnnotationLevel.NOTICE)]


@given(st.text(max_size=300))
def test_whatever_is_printed_is_read(output: str) -> None:
    for it in find_annotations(output, check="x", work_tree=TREE):
        assert it.line >= 1
        assert ".." not in it.path.split("/")
