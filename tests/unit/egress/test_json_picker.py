"""Values that are taken out of JSON as it passes, against what a whole parser says."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.egress.json_picker import JsonPicker

PATHS = (("a",), ("b", "a"), ("b", "c", "a"), ("b", "c", "b"))
NAMES = st.sampled_from(["a", "b", "c", 'a"', "a\\", "usage", "ä"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=15,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=5)


def _pick(text: bytes, *pieces: int) -> dict[tuple[str, ...], object]:
    picker = JsonPicker(PATHS)
    borders = [0, *sorted(pieces), len(text)]
    for start, end in pairwise(borders):
        picker.feed(text[start:end])
    return picker.found


def _wanted(value: dict[str, Any]) -> dict[tuple[str, ...], object]:
    found = {}
    for path in PATHS:
        inner: Any = value
        for name in path:
            inner = inner.get(name, ()) if isinstance(inner, dict) else ()
        if inner is None or isinstance(inner, str | int | float):
            found[path] = inner
    return found


@given(OBJECTS, st.booleans(), st.lists(st.integers(0, 300), max_size=6))
def test_it_finds_what_a_whole_parser_finds(value: dict[str, Any], ascii: bool, pieces: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii, indent=1).encode()
    assert _pick(text, *[min(piece, len(text)) for piece in pieces]) == _wanted(value)


def test_every_split_is_the_same() -> None:
    value = {"x": [{"a": 1}, "}"], "b": {"c": {"a": 7, "z": {"a": 2}}, "a": 'say \\"a\\": 9, "}'}, "a": "é\\"}
    text = json.dumps(value, ensure_ascii=False).encode()
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            assert _pick(text, first, second) == _wanted(value)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_it_never_fails(text: bytes, piece: int) -> None:
    _pick(text, min(piece, len(text)))


@given(st.text(alphabet='{}[]",:ab\\1 ', max_size=60))
def test_it_never_fails_on_what_is_nearly_json(text: str) -> None:
    _pick(text.encode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1, "a": 2}', {("a",): 2}),
        ('{"b": {"a": 1}, "b": {"c": {"a": 2}}}', {("b", "c", "a"): 2}),
        ('{"b": {"a": 1}, "b": 3}', {}),
        ('[{"a": 1}, {"b": {"a": 2}}, {"a": 3}]', {("a",): 3, ("b", "a"): 2}),
        ('{"a": "\\ud800", "b": {"a": "\\ud83d\\ude00"}}', {("b", "a"): "😀"}),
        ('{"x": "\\"a\\": 5", "y": ["a", {"a": 4}]}', {}),
    ],
)
def test_the_last_one_counts_and_a_text_that_looks_like_it_does_not(text: str, found: dict[Any, object]) -> None:
    assert _pick(text.encode()) == found


def test_it_keeps_nothing_of_what_is_long() -> None:
    picker = JsonPicker(PATHS)
    picker.feed(b'{"a": "')
    for _ in range(1000):
        picker.feed(b"x" * 1000)
    assert picker._taken is not None
    assert len(picker._taken) < 1000
    picker.feed(b'", "b": {"a": 1}, "' + b"k" * 100_000 + b'": ' + b"[" * 100_000)
    assert picker.found == {("b", "a"): 1}
