"""TOML that was made to do harm."""

import pytest

from cloister.toml_text import load_toml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a." * 100_000 + "b = 1", "more than 100 parts"),  # minutes in tomllib
        ("x = " + "[" * 50_000, "nested too deeply"),
        (f"x = {'9' * 5000}", "too long"),
        ("x = ", "Invalid value"),
    ],
)
def test_what_cannot_be_read_is_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_toml(text)


def test_what_is_just_within_the_bounds_is_read() -> None:
    found = load_toml("a." * 99 + f"b = {'9' * 4000}")
    for _ in range(99):
        found = found["a"]
    assert found == {"b": int("9" * 4000)}
