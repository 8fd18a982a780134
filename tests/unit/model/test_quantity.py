from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.model.quantity import parse_duration, parse_size, size_to_text


@pytest.mark.parametrize(
    "text", ["", "1", "m", "1 m", "-1m", "1e3s", "1m ", "1h,5m", "0s", "0.0h", "366d", "٣m", "1" * 13 + "s", "1m\n"]
)
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text", ["", "4", "GiB", "-4GiB", "4g", "4G", "4gib", "4  GiB", "4GiB ", "1kiB", "4iB", "٤GiB", "4GiB\n"]
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h", 3600), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("4GiB", 4 << 30), ("512 MiB", 512 << 20), ("1.5KiB", 1536), ("5MB", 5_000_000), ("1TiB", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.text())
def test_any_text_is_a_quantity_or_a_refusal(text: str) -> None:
    for parse in (parse_duration, parse_size):
        with suppress(ValueError):
            assert parse(text) >= 0


@given(st.integers(min_value=0, max_value=1 << 50))
def test_a_printed_size_is_near_what_it_says(size: int) -> None:
    assert parse_size(size_to_text(size)) == pytest.approx(size, rel=0.06)
